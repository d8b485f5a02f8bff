/* kept: an application that says when it lives, for measuring how soon it is started again.
 *
 *   kept FILE stay        say "start", sleep
 *   kept FILE life MS     say "start", end with code 1 after MS milliseconds
 *   kept FILE beat N      say "start", N signs of life 100 ms apart, say "hang", sleep
 *
 * What it says is one line, `WORD PID NANOSECONDS` of the monotonic clock, appended by one write.  A sign of life is
 * WATCHDOG=1 to the socket in NOTIFY_SOCKET, as sd_notify(3) has it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int say(const char *path, const char *word)
{
	struct timespec now;
	char line[96];
	int file, length;

	clock_gettime(CLOCK_MONOTONIC, &now);
	length = snprintf(line, sizeof line, "%s %ld %lld\n", word, (long)getpid(),
			  (long long)now.tv_sec * 1000000000 + now.tv_nsec);
	file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	return file < 0 || write(file, line, length) != length;
}

static void sign_of_life(void)
{
	static const char text[] = "WATCHDOG=1";
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int end = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (end < 0 || !name || strlen(name) >= sizeof address.sun_path)
		return;
	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	sendto(end, text, sizeof text - 1, 0, (struct sockaddr *)&address,
	       offsetof(struct sockaddr_un, sun_path) + strlen(name));
	close(end);
}

int main(int count, char **words)
{
	const int number = count > 3 ? atoi(words[3]) : 0;

	if (count < 3 || say(words[1], "start"))
		return 2;
	if (!strcmp(words[2], "life")) {
		usleep(number * 1000);
		return 1;
	}
	if (!strcmp(words[2], "beat")) {
		for (int beat = 0; beat < number; beat++) {
			sign_of_life();
			usleep(100000);
		}
		sign_of_life();
		say(words[1], "hang");
	}
	for (;;)
		pause();
}
