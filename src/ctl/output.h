/* SPDX-License-Identifier: ISC */
/*
 * output: answers of palaverd as text for people.
 */
#ifndef PALAVER_CTL_OUTPUT_H
#define PALAVER_CTL_OUTPUT_H

#include <json.h>

void output_status(struct json_object *data);
void output_pong(struct json_object *data);
void output_text(struct json_object *data);
void output_reload(struct json_object *data);
void output_stats(struct json_object *data);
void output_users(struct json_object *data);
void output_user(struct json_object *data);
void output_invited(struct json_object *data);
void output_invitations(struct json_object *data);
void output_conversations(struct json_object *data);
void output_conversation(struct json_object *data);
void output_message(struct json_object *data);
void output_user_added(struct json_object *data);
void output_sessions(struct json_object *data);
void output_ended(struct json_object *data);
void output_key(struct json_object *data);
void output_keys(struct json_object *data);
void output_done(struct json_object *data);
void output_shutdown(struct json_object *data);

#endif
