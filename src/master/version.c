/* SPDX-License-Identifier: ISC */
/*
 * version: palaverd -V: what this binary can do and which libraries it runs with.
 * The only file of master/ that knows other layers' libraries, for their versions.
 */
#include "config.h"

#include <confuse.h>
#include <crypt.h>
#include <ev.h>
#include <json.h>
#include <libwebsockets.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>

#include "master/master.h"

void
version_print(void)
{
	printf("palaverd %s\n", PACKAGE_VERSION);
	printf("features: bus local; journal local; store sqlite; transport websocket\n");
	printf("not in this build: bus redis; journal kafka; store mongodb\n");
	printf("libwebsockets %s\n", lws_get_library_version());
	printf("libev %d.%d\n", ev_version_major(), ev_version_minor());
	printf("json-c %s\n", json_c_version());
	printf("libconfuse %s\n", confuse_version);
	printf("sqlite %s\n", sqlite3_libversion());
	printf("libxcrypt %d.%d\n", XCRYPT_VERSION_MAJOR, XCRYPT_VERSION_MINOR);
	printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
}
