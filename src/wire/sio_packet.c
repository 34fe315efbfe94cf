/* SPDX-License-Identifier: ISC */
/*
 * sio_packet: the codec.  Loop thread; no state.
 */
#include "wire/sio_packet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"

#define ACK_DIGITS_MAX 15

const struct json_limits sio_json_limits = {.depth = 32, .keys = 10000, .any_text = true};

bool
sio_name_reserved(const char *event)
{
	static const char *const reserved[] = {"connect", "connect_error", "disconnect",
	    "disconnecting", "newListener", "removeListener"};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
		if (strcmp(event, reserved[i]) == 0)
			return true;
	return false;
}

static bool
event_name_valid(struct json_object *name)
{
	if (json_object_is_type(name, json_type_int) || json_object_is_type(name, json_type_double))
		return true;
	return json_object_is_type(name, json_type_string) &&
	       strlen(json_object_get_string(name)) == (size_t)json_object_get_string_len(name) &&
	       !sio_name_reserved(json_object_get_string(name));
}

/* Section 10.2, step 5. */
static bool
shape_valid(enum sio_type type, struct json_object *json)
{
	switch (type) {
	case SIO_CONNECT:
		return json_object_is_type(json, json_type_object);
	case SIO_DISCONNECT:
		return false;
	case SIO_EVENT:
	case SIO_BINARY_EVENT:
		return json_object_is_type(json, json_type_array) &&
		       event_name_valid(json_object_array_get_idx(json, 0));
	case SIO_ACK:
	case SIO_BINARY_ACK:
		return json_object_is_type(json, json_type_array);
	case SIO_CONNECT_ERROR:
		return json_object_is_type(json, json_type_object) ||
		       json_object_is_type(json, json_type_string);
	}
	return false;
}

struct cursor {
	const char *p, *end;
};

/* Digits into *v_r; the number of digits, or -1: more than max. */
static int
take_digits(struct cursor *c, int max, int64_t *v_r)
{
	int n = 0;

	*v_r = 0;
	for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++) {
		if (++n > max)
			return -1;
		*v_r = *v_r * 10 + (*c->p - '0');
	}
	return n;
}

static int
take_count(struct cursor *c, struct sio_decoded *d)
{
	int64_t v;

	if (take_digits(c, 3, &v) < 1 || c->p == c->end || *c->p != '-')
		return -1;
	c->p++;
	if (v < 1 || v > SIO_ATTACHMENTS_MAX)
		return -1;
	d->attachments = (unsigned int)v;
	return 0;
}

static int
take_namespace(struct cursor *c, struct sio_decoded *d)
{
	const char *comma;
	size_t len;

	strcpy(d->nsp, "/");
	if (c->p == c->end || *c->p != '/')
		return 0;
	comma = memchr(c->p, ',', (size_t)(c->end - c->p));
	len = (size_t)((comma ? comma : c->end) - c->p);
	if (len > SIO_NAME_MAX || memchr(c->p, '\0', len))
		return -1;
	memcpy(d->nsp, c->p, len);
	d->nsp[len] = '\0';
	c->p += len + (comma != NULL);
	return 0;
}

int
sio_decode(const char *text, size_t len, struct sio_decoded *d)
{
	struct cursor c = {text, text + len};
	const char *why;
	int digits;

	memset(d, 0, sizeof(*d));
	d->ack = SIO_NO_ACK;
	if (!len || *c.p < '0' || *c.p > '6')
		return -1;
	d->type = (enum sio_type)(*c.p++ - '0');
	if ((d->type == SIO_BINARY_EVENT || d->type == SIO_BINARY_ACK) && take_count(&c, d) < 0)
		return -1;
	if (take_namespace(&c, d) < 0)
		return -1;
	digits = take_digits(&c, ACK_DIGITS_MAX, &d->ack);
	if (digits < 0)
		return -1;
	if (!digits)
		d->ack = SIO_NO_ACK;
	if (c.p == c.end)
		return d->attachments ? -1 : 0; /* attachments of nothing */
	d->json = json_parse(c.p, (size_t)(c.end - c.p), &sio_json_limits, &why);
	if (d->json && shape_valid(d->type, d->json))
		return 0;
	json_object_put(d->json);
	d->json = NULL;
	return -1;
}

bool
sio_placeholders_valid(struct json_object *json, unsigned int count)
{
	struct json_object *mark, *num;

	if (json_object_is_type(json, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(json); i++)
			if (!sio_placeholders_valid(json_object_array_get_idx(json, i), count))
				return false;
		return true;
	}
	if (!json_object_is_type(json, json_type_object))
		return true;
	if (json_object_object_get_ex(json, "_placeholder", &mark) &&
	    json_object_is_type(mark, json_type_boolean) && json_object_get_boolean(mark)) {
		int64_t n = -1;

		if (json_object_object_get_ex(json, "num", &num) &&
		    json_object_is_type(num, json_type_int))
			n = json_object_get_int64(num);
		return n >= 0 && n < count;
	}
	json_object_object_foreach(json, key, value)
	{
		(void)key;
		if (!sio_placeholders_valid(value, count))
			return false;
	}
	return true;
}

struct sio_packet *
sio_encode(enum sio_type type, const char *nsp, int64_t ack, const char *json, size_t json_len,
    const struct sio_attachment *att, size_t att_count)
{
	struct sio_packet *p = xmalloc(sizeof(*p) + (1 + att_count) * sizeof(struct frame *));
	struct buf b;

	if (att_count)
		type = type == SIO_EVENT ? SIO_BINARY_EVENT : SIO_BINARY_ACK;
	buf_init(&b);
	buf_printf(&b, "4%d", (int)type); /* Engine.IO MESSAGE */
	if (att_count)
		buf_printf(&b, "%zu-", att_count);
	if (strcmp(nsp, "/") != 0)
		buf_printf(&b, "%s,", nsp);
	if (ack != SIO_NO_ACK)
		buf_printf(&b, "%" PRId64, ack);
	buf_append(&b, json, json_len);
	p->refs = 1;
	p->count = 0;
	p->frames[p->count++] = frame_new(b.data, b.len, false);
	for (size_t i = 0; i < att_count; i++)
		p->frames[p->count++] = frame_new(att[i].data, att[i].len, true);
	buf_fini(&b);
	return p;
}

struct sio_packet *
sio_event_new(const char *nsp, const char *name, const char *args, size_t args_len,
    const struct sio_attachment *att, size_t att_count)
{
	struct sio_packet *p;
	struct buf b;

	buf_init(&b);
	buf_putc(&b, '[');
	json_put_string(&b, name, strlen(name));
	if (args_len)
		buf_putc(&b, ',');
	buf_append(&b, args, args_len);
	buf_putc(&b, ']');
	p = sio_encode(SIO_EVENT, nsp, SIO_NO_ACK, (const char *)b.data, b.len, att, att_count);
	buf_fini(&b);
	return p;
}

struct sio_packet *
sio_packet_ref(struct sio_packet *p)
{
	p->refs++;
	return p;
}

void
sio_packet_unref(struct sio_packet **pp)
{
	struct sio_packet *p = *pp;

	*pp = NULL;
	if (!p || --p->refs)
		return;
	for (unsigned int i = 0; i < p->count; i++)
		frame_unref(&p->frames[i]);
	free(p);
}
