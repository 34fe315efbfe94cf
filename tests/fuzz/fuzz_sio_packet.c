/* SPDX-License-Identifier: ISC */
/*
 * fuzz_sio_packet: a Socket.IO packet is decoded, and encoded and decoded again says the
 * same; what a placeholder may point at.  Input: the packet.
 */
#include "fuzz.h"

#include "wire/sio_packet.h"

static void
assert_inside(const char *p, size_t len, const char *text, size_t text_len)
{
	assert(p >= text && p <= text + text_len && len <= (size_t)(text + text_len - p));
}

static void
check_decoded(const struct sio_decoded *d, const char *text, size_t len)
{
	bool binary = d->type == SIO_BINARY_EVENT || d->type == SIO_BINARY_ACK;

	assert(d->type <= SIO_BINARY_ACK);
	assert(binary ? d->attachments >= 1 && d->attachments <= SIO_ATTACHMENTS_MAX
		      : !d->attachments);
	assert(d->nsp[0] == '/' && strlen(d->nsp) <= SIO_NAME_MAX && !strchr(d->nsp, ','));
	if (d->nsp[1]) {
		const char *nsp = memchr(text, '/', len), *end;

		assert(nsp);
		assert_inside(nsp, strlen(d->nsp), text, len);
		end = nsp + strlen(d->nsp);
		assert(memcmp(nsp, d->nsp, strlen(d->nsp)) == 0);
		assert(end == text + len || *end == ',');
	}
	assert(d->ack >= SIO_NO_ACK && d->ack < INT64_C(1000000000000000));
	if (!d->json) {
		assert(!d->args && !d->name);
		return;
	}
	assert_inside(d->json, d->json_len, text, len);
	assert(!json_scan(d->json, d->json_len, &sio_json_limits, NULL));
	if (d->args)
		assert_inside(d->args, d->args_len, d->json, d->json_len);
	if (d->name)
		assert_inside(d->name, d->name_len, d->json, d->json_len);
	assert(!d->name || d->name + d->name_len <= d->args);
}

/* The arguments are the elements of an array: in brackets they are valid by themselves. */
static void
check_args(const struct sio_decoded *d)
{
	struct buf b;

	buf_init(&b);
	buf_putc(&b, '[');
	buf_append(&b, d->args, d->args_len);
	buf_putc(&b, ']');
	assert(!json_scan((char *)b.data, b.len, &sio_json_limits, NULL));
	buf_fini(&b);
}

/* What d says, encoded. */
static struct frame *
encode(const struct sio_decoded *d, const char *name)
{
	bool event = d->type == SIO_EVENT || d->type == SIO_BINARY_EVENT;
	bool ack = d->type == SIO_ACK || d->type == SIO_BINARY_ACK;
	struct sio_parts parts = {.type = event ? SIO_EVENT
					  : ack ? SIO_ACK
						: d->type,
	    .nsp = d->nsp,
	    .ack = d->ack,
	    .name = name,
	    .args = d->args,
	    .args_len = d->args_len,
	    .json = d->json,
	    .json_len = d->json_len,
	    .attachments = d->attachments};

	return sio_encode(&parts);
}

static bool
same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return !a == !b && a_len == b_len && (!a_len || memcmp(a, b, a_len) == 0);
}

static void
check_again(const struct sio_decoded *d)
{
	char *name = d->name ? sio_name_text(d->name, d->name_len) : NULL, *name2;
	struct sio_decoded e;
	struct frame *f;
	size_t len;
	char *text;

	if (d->name && !name) /* it has a NUL, and is no event's */
		return;
	f = encode(d, name);
	len = f->len - f->header;
	text = fuzz_copy(f->data + f->header, len);
	assert(text[0] == '4' && sio_decode(text + 1, len - 1, &e) == 0);
	assert(e.type == d->type && e.attachments == d->attachments && e.ack == d->ack);
	assert(strcmp(e.nsp, d->nsp) == 0);
	if (d->args)
		assert(same(d->args, d->args_len, e.args, e.args_len));
	else
		assert(same(d->json, d->json_len, e.json, e.json_len));
	assert(!d->name == !e.name);
	if (name) {
		name2 = sio_name_text(e.name, e.name_len);
		assert(strcmp(name, name2) == 0);
		assert(*d->name != '"' || !sio_name_reserved(name));
		free(name2);
	}
	free(text);
	free(name);
	frame_unref(&f);
}

/* More attachments never make a placeholder bad, and without one there is nothing bad. */
static void
check_placeholders(const struct sio_decoded *d)
{
	const char *why;
	struct json_object *o = json_parse(d->json, d->json_len, &sio_json_limits, &why);
	bool good = false;

	assert(o);
	for (unsigned int n = 0; n <= SIO_ATTACHMENTS_MAX; n++) {
		bool now = sio_placeholders_valid(o, n);

		assert(now || !good);
		good = now;
	}
	if (!memmem(d->json, d->json_len, "_placeholder", 12) &&
	    !memchr(d->json, '\\', d->json_len))
		assert(sio_placeholders_valid(o, 0));
	json_object_put(o);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct sio_decoded d;

	memset(&d, 0xa5, sizeof(d)); /* nothing may depend on what was there */
	if (sio_decode(text, size, &d) < 0)
		return 0;
	check_decoded(&d, text, size);
	if (d.args)
		check_args(&d);
	check_again(&d);
	if (d.json)
		check_placeholders(&d);
	return 0;
}
