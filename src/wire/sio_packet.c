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

struct json_limits sio_json_limits = {.depth = 32, .keys = 10000, .any_text = true};
static unsigned int attachments_max = SIO_ATTACHMENTS_MAX;

void
sio_packet_limits(unsigned int depth, unsigned int keys, unsigned int attachments)
{
	sio_json_limits.depth = depth;
	sio_json_limits.keys = keys;
	attachments_max = attachments < SIO_ATTACHMENTS_MAX ? attachments : SIO_ATTACHMENTS_MAX;
}

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
	if (v < 1 || v > attachments_max)
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

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void
trim(const char **p, const char **end)
{
	while (*p < *end && is_space(**p))
		++*p;
	while (*end > *p && is_space((*end)[-1]))
		--*end;
}

/* Behind the string or number at p, which is valid JSON. */
static const char *
behind(const char *p, const char *end)
{
	if (*p != '"') {
		while (p < end && *p != ',' && !is_space(*p))
			p++;
		return p;
	}
	for (p++; *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p + 1;
}

char *
sio_name_text(const char *json, size_t len)
{
	struct json_object *o;
	const char *why;
	char *text = NULL;

	if (*json == '"' && !memchr(json, '\\', len)) {
		text = xmalloc(len - 1);
		memcpy(text, json + 1, len - 2);
		text[len - 2] = '\0';
		return text;
	}
	o = json_parse(json, len, &sio_json_limits, &why);
	if (o && (!json_object_is_type(o, json_type_string) ||
		     strlen(json_object_get_string(o)) == (size_t)json_object_get_string_len(o)))
		text = xstrdup(json_object_get_string(o));
	json_object_put(o);
	return text;
}

/* Splits the name off an event's array; false: there is none, or it is reserved. */
static bool
take_name(struct sio_decoded *d)
{
	const char *p = d->args, *end = p + d->args_len, *rest;
	char *text;
	bool good;

	if (p == end || !(*p == '"' || *p == '-' || (*p >= '0' && *p <= '9')))
		return false;
	rest = behind(p, end);
	d->name = p;
	d->name_len = (size_t)(rest - p);
	trim(&rest, &end);
	if (rest < end)
		rest++; /* the comma */
	trim(&rest, &end);
	d->args = rest;
	d->args_len = (size_t)(end - rest);
	text = sio_name_text(d->name, d->name_len);
	good = *p != '"' || !text || !sio_name_reserved(text);
	free(text);
	return good;
}

/* Section 10.2, step 5. */
static bool
take_shape(struct sio_decoded *d)
{
	const char *p = d->json, *end = p + d->json_len;

	trim(&p, &end);
	switch (d->type) {
	case SIO_CONNECT:
		return *p == '{';
	case SIO_CONNECT_ERROR:
		return *p == '{' || *p == '"';
	case SIO_DISCONNECT:
		return false;
	default:
		break;
	}
	if (*p != '[')
		return false;
	p++, end--;
	trim(&p, &end);
	d->args = p;
	d->args_len = (size_t)(end - p);
	return d->type == SIO_ACK || d->type == SIO_BINARY_ACK || take_name(d);
}

int
sio_decode(const char *text, size_t len, struct sio_decoded *d)
{
	struct cursor c = {text, text + len};
	int digits;

	d->attachments = 0;
	d->json = d->args = d->name = NULL;
	d->json_len = d->args_len = d->name_len = 0;
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
	d->json = c.p;
	d->json_len = (size_t)(c.end - c.p);
	if (json_scan(d->json, d->json_len, &sio_json_limits, NULL))
		return -1;
	return take_shape(d) ? 0 : -1;
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

/* Decimal digits of v; the number of them. */
static size_t
put_number(char *dst, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	for (size_t i = 0; i < n; i++)
		dst[i] = digits[n - 1 - i];
	return n;
}

/* Everything in front of the JSON; the length. */
static size_t
put_prefix(char dst[SIO_NAME_MAX + 64], const struct sio_parts *p)
{
	enum sio_type type = p->type;
	size_t n = 0, len;

	if (p->attachments)
		type = type == SIO_EVENT ? SIO_BINARY_EVENT : SIO_BINARY_ACK;
	dst[n++] = '4'; /* Engine.IO MESSAGE */
	dst[n++] = (char)('0' + (int)type);
	if (p->attachments) {
		n += put_number(dst + n, p->attachments);
		dst[n++] = '-';
	}
	if (p->nsp[1]) {
		len = strlen(p->nsp);
		memcpy(dst + n, p->nsp, len);
		n += len;
		dst[n++] = ',';
	}
	if (p->ack != SIO_NO_ACK)
		n += put_number(dst + n, (uint64_t)p->ack);
	return n;
}

static unsigned char *
put(unsigned char *dst, const void *data, size_t len)
{
	if (len)
		memcpy(dst, data, len);
	return dst + len;
}

struct frame *
sio_encode(const struct sio_parts *p)
{
	char prefix[SIO_NAME_MAX + 64];
	size_t n = put_prefix(prefix, p), total;
	struct buf name;
	struct frame *f;
	unsigned char *at;

	buf_init(&name);
	if (p->name)
		json_put_string(&name, p->name, strlen(p->name));
	if (p->name && p->args_len)
		buf_putc(&name, ',');
	total = n + (p->args ? 2 + name.len + p->args_len : p->json_len);
	f = frame_alloc(total, false);
	at = put(f->data + f->header, prefix, n);
	if (p->args) {
		*at++ = '[';
		at = put(at, name.data, name.len);
		at = put(at, p->args, p->args_len);
		*at++ = ']';
	} else {
		put(at, p->json, p->json_len);
	}
	buf_fini(&name);
	return f;
}

struct sio_packet *
sio_packet_new(const struct sio_parts *parts, const struct sio_attachment *att)
{
	struct sio_packet *p =
	    xmalloc(sizeof(*p) + (1 + parts->attachments) * sizeof(struct frame *));

	p->refs = 1;
	p->count = 0;
	p->frames[p->count++] = sio_encode(parts);
	for (size_t i = 0; i < parts->attachments; i++)
		p->frames[p->count++] = frame_new(att[i].data, att[i].len, true);
	return p;
}

struct sio_packet *
sio_event_new(const char *nsp, const char *name, const char *args, size_t args_len,
    const struct sio_attachment *att, size_t att_count)
{
	struct sio_parts parts = {.type = SIO_EVENT,
	    .nsp = nsp,
	    .ack = SIO_NO_ACK,
	    .name = name,
	    .args = args,
	    .args_len = args_len,
	    .attachments = att_count};

	return sio_packet_new(&parts, att);
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
