/* SPDX-License-Identifier: ISC */
/*
 * address: see address.h.  Loop thread; the shared cells by atomic operations.
 *
 * Sessions: the generic cell rate algorithm.  A cell holds the time, in microseconds of
 * the monotonic clock, which is one for the machine, at which the address would be back at
 * no debt; each session moves it by 1/rate, and it may be ten seconds ahead of now.
 */
#include "lib/address.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/buf.h"
#include "lib/loop.h"

#define CELLS    8192
#define BURST_US 10000000

struct shared {
	_Atomic uint16_t connections[CELLS][ADDRESS_SLOTS];
	_Atomic uint64_t free_at[CELLS];
};

struct address_table {
	struct shared *shared;
	unsigned int slot;
};

struct cells {
	uint32_t a, b;
};

/* Two independent hashes (FNV-1a from two bases) of what counts as the address. */
static struct cells
cells_of(const struct in6_addr *addr)
{
	size_t len = IN6_IS_ADDR_V4MAPPED(addr) ? 16 : 8;
	uint64_t x = UINT64_C(14695981039346656037), y = UINT64_C(0x9ae16a3b2f90404f);

	for (size_t i = 0; i < len; i++) {
		x = (x ^ addr->s6_addr[i]) * UINT64_C(1099511628211);
		y = (y ^ addr->s6_addr[i]) * UINT64_C(0x9fb21c651e98df25);
	}
	return (struct cells){(uint32_t)(x >> 32) % CELLS, (uint32_t)(y >> 40) % CELLS};
}

static unsigned int
sum(const struct address_table *t, uint32_t cell)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ADDRESS_SLOTS; i++)
		n += atomic_load_explicit(&t->shared->connections[cell][i], memory_order_relaxed);
	return n;
}

static void
count(struct address_table *t, uint32_t cell, int by)
{
	_Atomic uint16_t *n = &t->shared->connections[cell][t->slot];

	atomic_store_explicit(n, (uint16_t)(atomic_load_explicit(n, memory_order_relaxed) + by),
	    memory_order_relaxed);
}

/* Counted even without a limit: a reload may set one. */
bool
address_connect(struct address_table *t, const struct in6_addr *addr, unsigned int max)
{
	struct cells c = cells_of(addr);

	if (max && sum(t, c.a) >= max && sum(t, c.b) >= max)
		return false;
	count(t, c.a, 1);
	if (c.b != c.a)
		count(t, c.b, 1);
	return true;
}

void
address_disconnect(struct address_table *t, const struct in6_addr *addr)
{
	struct cells c = cells_of(addr);

	count(t, c.a, -1);
	if (c.b != c.a)
		count(t, c.b, -1);
}

/* Moves the cell on by step unless it is too far ahead. */
static bool
take(_Atomic uint64_t *cell, uint64_t now, uint64_t step)
{
	uint64_t at = atomic_load_explicit(cell, memory_order_relaxed), from;

	do {
		from = at > now ? at : now;
		if (from - now > BURST_US - step)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
	    cell, &at, from + step, memory_order_relaxed, memory_order_relaxed));
	return true;
}

bool
address_session(struct address_table *t, const struct in6_addr *addr, unsigned int rate)
{
	struct cells c = cells_of(addr);
	uint64_t now = (uint64_t)clock_mono_us();
	bool a, b;

	if (!rate)
		return true;
	a = take(&t->shared->free_at[c.a], now, 1000000 / rate);
	b = c.a == c.b ? a : take(&t->shared->free_at[c.b], now, 1000000 / rate);
	return a || b;
}

bool
address_parse(const char *text, struct in6_addr *a)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return inet_pton(AF_INET6, text, a) == 1;
	memset(a, 0, sizeof(*a));
	a->s6_addr[10] = a->s6_addr[11] = 0xff;
	memcpy(&a->s6_addr[12], &in, 4);
	return true;
}

bool
address_block(const char *text, char dst[ADDRESS_BLOCK_MAX])
{
	struct in6_addr a;

	dst[0] = '\0';
	if (!address_parse(text, &a))
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&a))
		return inet_ntop(AF_INET, &a.s6_addr[12], dst, ADDRESS_BLOCK_MAX) != NULL;
	memset(&a.s6_addr[8], 0, 8);
	inet_ntop(AF_INET6, &a, dst, INET6_ADDRSTRLEN);
	strcat(dst, "/64");
	return true;
}

size_t
address_table_size(void)
{
	return sizeof(struct shared);
}

struct address_table *
address_table_open(int fd, unsigned int slot)
{
	struct address_table *t = xcalloc(1, sizeof(*t));
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;

	t->slot = slot % ADDRESS_SLOTS;
	t->shared = mmap(NULL, sizeof(*t->shared), PROT_READ | PROT_WRITE, flags, fd, 0);
	if (t->shared == MAP_FAILED) {
		free(t);
		return fd < 0 ? NULL : address_table_open(-1, slot);
	}
	if (fd >= 0)
		address_table_clear(t, slot); /* an earlier worker's */
	return t;
}

void
address_table_clear(struct address_table *t, unsigned int slot)
{
	for (uint32_t i = 0; i < CELLS; i++)
		atomic_store_explicit(
		    &t->shared->connections[i][slot % ADDRESS_SLOTS], 0, memory_order_relaxed);
}

void
address_table_close(struct address_table **tp)
{
	struct address_table *t = *tp;

	*tp = NULL;
	if (!t)
		return;
	munmap(t->shared, sizeof(*t->shared));
	free(t);
}
