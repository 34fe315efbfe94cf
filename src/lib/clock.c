/* SPDX-License-Identifier: ISC */
/*
 * clock: the clocks and time as text.  Any process, any thread.
 */
#include "lib/clock.h"

#include <stdio.h>
#include <time.h>

#include "lib/loop.h"

static int64_t
read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_mono_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

int64_t
clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

int64_t
clock_wall_ms(void)
{
	return read_us(CLOCK_REALTIME) / 1000;
}

void
clock_format(int64_t wall_ms, char dst[CLOCK_TEXT_MAX])
{
	time_t sec = (time_t)(wall_ms / 1000);
	int ms = (int)(wall_ms % 1000);
	char date[24];
	struct tm tm;

	if (ms < 0) { /* before 1970: round towards the past */
		ms += 1000;
		sec--;
	}
	gmtime_r(&sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(dst, CLOCK_TEXT_MAX, "%s.%03dZ", date, ms);
}
