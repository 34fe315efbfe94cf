/* SPDX-License-Identifier: ISC */
/*
 * api-table: prints what this server knows, one row a line, for the tests that compare it
 * with src/api/openapi.yaml and src/api/events.schema.json:
 *
 *	route METHOD PATH           of REST
 *	takes NAME                  an event that clients send
 *	event NAME                  a numbered event, which the server sends
 *	error CODE STATUS RETRYABLE TITLE
 *	                            of problem objects; RETRYABLE is 0 or 1
 *
 * One thread, no network, no state.
 */
#include <stdio.h>

#include "api/api.h"
#include "model/error.h"
#include "model/event.h"

int
main(void)
{
	const char *row;

	for (unsigned int i = 0; (row = api_route(i)); i++)
		printf("route %s\n", row);
	for (unsigned int i = 0; (row = api_event(i)); i++)
		printf("takes %s\n", row);
	for (enum event_type t = EVENT_MESSAGE_CREATED; t < EVENT_TYPE_COUNT; t++)
		printf("event %s\n", event_type_name(t));
	for (int err = -1; err > -ERROR_COUNT; err--)
		printf("error %s %d %d %s\n", error_code(err), error_status(err),
		    error_retryable(err), error_title(err));
	return 0;
}
