// SPDX-License-Identifier: MIT
/*
 * A library for LD_PRELOAD that protects a listening program: TCP is bound to the loopback interface only, and only
 * connections of the program's user, or root, are accepted.
 *
 * It is for a pcscd without network or folder of its own: vpcd, the driver of virtual readers, listens on all interfaces
 * and takes the first connection, and pcscd's socket is open to all users. And it is for a browser under Marionette,
 * which obeys the first client that connects. Replaced are bind, accept and accept4, which they call.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

/* Find the system's function of a name (dlsym(3)). */
#define REAL(name, function) (*(void **)(&(function)) = dlsym(RTLD_NEXT, name))

static bool is_allowed(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* Return whether a table of proc(5) has a socket of an allowed user at `near` that is connected to `far`. */
static bool table_allows(const char *path, const char *near, const char *far)
{
	char line[512], local[64], remote[64];
	unsigned long inode;
	unsigned int uid;
	bool found = false;
	FILE *table = fopen(path, "re");

	if (table == NULL)
		return false;
	while (!found && fgets(line, sizeof line, table) != NULL)
		found = sscanf(line, " %*u: %63s %63s %*x %*s %*s %*x %u %*u %lu", local, remote, &uid, &inode) == 4 &&
			strcmp(local, near) == 0 && strcmp(remote, far) == 0 && inode != 0 && is_allowed(uid);
	fclose(table);
	return found;
}

/* Write an address in the form of the tables: as IPv4, or mapped to IPv6 (RFC 4291, 2.5.5.2). */
static void write_address(char *text, size_t size, const struct sockaddr_in *address, bool is_mapped)
{
	if (is_mapped)
		snprintf(text, size, "%016X%08X%08X:%04X", 0, htonl(0xFFFF), address->sin_addr.s_addr, ntohs(address->sin_port));
	else
		snprintf(text, size, "%08X:%04X", address->sin_addr.s_addr, ntohs(address->sin_port));
}

/* Return whether the peer of a local connection belongs to an allowed user. */
static bool is_ours(int connection)
{
	struct sockaddr_storage address;
	struct sockaddr_in here, there;
	socklen_t size = sizeof address, here_size = sizeof here, there_size = sizeof there;
	struct ucred peer;
	socklen_t peer_size = sizeof peer;

	if (getsockname(connection, (struct sockaddr *)&address, &size) != 0)
		return false;
	if (address.ss_family == AF_UNIX)
		return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0 && is_allowed(peer.uid);
	if (address.ss_family != AF_INET || getsockname(connection, (struct sockaddr *)&here, &here_size) != 0 ||
	    getpeername(connection, (struct sockaddr *)&there, &there_size) != 0)
		return false;
	for (int is_mapped = 0; is_mapped <= 1; is_mapped++) {
		char near[64], far[64];

		write_address(near, sizeof near, &there, is_mapped);
		write_address(far, sizeof far, &here, is_mapped);
		if (table_allows(is_mapped ? "/proc/self/net/tcp6" : "/proc/self/net/tcp", near, far))
			return true;
	}
	return false;
}

/*
 * Return an accepted connection of an allowed user; close one of another user.
 *
 * A blocking accept() fails then with ECONNABORTED. Programs that accept without blocking, as Mozilla's do, take any
 * error for the listener's end: they get a connection that has ended.
 */
static int admitted(int listener, int connection)
{
	int ended;

	if (connection < 0 || is_ours(connection))
		return connection;
	close(connection);
	if ((fcntl(listener, F_GETFL) & O_NONBLOCK) != 0 &&
	    (ended = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) >= 0)
		return ended;
	errno = ECONNABORTED;
	return -1;
}

static bool is_tcp(int socket)
{
	int type;
	socklen_t size = sizeof type;

	return getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

EXPORTED int bind(int socket, const struct sockaddr *address, socklen_t size)
{
	int (*real)(int, const struct sockaddr *, socklen_t);
	struct sockaddr_in local;

	REAL("bind", real);
	if (address->sa_family != AF_INET || size < sizeof local || !is_tcp(socket))
		return real(socket, address, size);
	memcpy(&local, address, sizeof local);
	if (local.sin_addr.s_addr == htonl(INADDR_ANY))
		local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return real(socket, (const struct sockaddr *)&local, sizeof local);
}

EXPORTED int accept(int socket, struct sockaddr *restrict address, socklen_t *restrict size)
{
	int (*real)(int, struct sockaddr *, socklen_t *);

	REAL("accept", real);
	return admitted(socket, real(socket, address, size));
}

EXPORTED int accept4(int socket, struct sockaddr *restrict address, socklen_t *restrict size, int flags)
{
	int (*real)(int, struct sockaddr *, socklen_t *, int);

	REAL("accept4", real);
	return admitted(socket, real(socket, address, size, flags));
}
