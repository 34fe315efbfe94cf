/* SPDX-License-Identifier: ISC */
/*
 * address: limits for one client address over all workers of the machine: open
 * connections, and new sessions a second.  Thread: loop.
 *
 * The counts are in memory that all workers share.  Each counts its connections in a
 * column of its own, which is cleared when it has died and when its successor starts, so
 * that nothing is left behind and no lock is needed.  Addresses share cells by hash; each has two,
 * of which the lower one counts, so that being mistaken for another takes two collisions. An IPv6
 * client is its /64.
 */
#ifndef PALAVER_LIB_ADDRESS_H
#define PALAVER_LIB_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#define ADDRESS_SLOTS 64

struct address_table;

size_t address_table_size(void); /* bytes of shared memory */
/* fd: of the shared memory (borrowed), or -1: this worker is alone. */
struct address_table *address_table_open(int fd, unsigned int slot);
/* What a slot's worker had, which is gone. */
void address_table_clear(struct address_table *t, unsigned int slot);
void address_table_close(struct address_table **t);

/* A connection begins; false: the address has `max` already (0: no limit). */
bool address_connect(struct address_table *t, const struct in6_addr *a, unsigned int max);
void address_disconnect(struct address_table *t, const struct in6_addr *a);
/*
 * A session begins; false: the address has had more than `rate` a second (0: no limit),
 * of which ten seconds' worth may come at once.
 */
bool address_session(struct address_table *t, const struct in6_addr *a, unsigned int rate);

/* Numeric text to an address, IPv4 as mapped; false: it is none. */
bool address_parse(const char *text, struct in6_addr *a);

#define ADDRESS_BLOCK_MAX 56
/*
 * The text of what counts as one client: an IPv4 address, or the /64 of an IPv6 one
 * ("2001:db8:0:1::/64").  false, and dst is "": text is no numeric address.
 */
bool address_block(const char *text, char dst[ADDRESS_BLOCK_MAX]);

#endif
