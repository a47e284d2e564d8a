/* SPDX-License-Identifier: MIT */
/*
 * System V shared memory: a segment with a key that parent and child have attached, one of which is read-only, a part of it
 * protected; a private one marked for removal while attached; sizes that are no whole pages; shmdt() works afterwards.
 */
#include "prog.h"

#include <sys/ipc.h>
#include <sys/random.h>
#include <sys/shm.h>

#define PAGE 4096
#define SIZE (5 * PAGE + 100)

static int *step;
static char *shared, *gone;
static int id, gone_id;

static void child(void *arg)
{
	char *ro = shmat(id, NULL, SHM_RDONLY);

	CHECK(ro != (void *)-1 && ro != shared);
	prog_count(step);
	prog_wait_go();
	prog_wait_count(&step[1], 1);
	CHECK(ro[7] == 'p' && shared[7] == 'p' && gone[3] == 'G' && ro[4 * PAGE] == 'e');
	CHECK(mprotect(ro, PAGE, PROT_READ | PROT_WRITE) < 0);
	shared[8] = 'c';
	prog_count(&step[1]);
	CHECK(shmdt(ro) == 0 && shmdt(gone) == 0);
}

int main(int argc, char **argv)
{
	struct shmid_ds was, is;
	key_t key;
	pid_t pid;

	prog_init(argc, argv);
	step = prog_shared(PAGE);
	/* an id can be chosen only with privilege over the IPC namespace */
	prog_needs_map_files();
	do {
		CHECK(getrandom(&key, sizeof(key), 0) == sizeof(key));
		key |= 1;
		id = shmget(key, SIZE, IPC_CREAT | IPC_EXCL | 0640);
	} while (id < 0 && errno == EEXIST);
	CHECK(id >= 0);
	gone_id = shmget(IPC_PRIVATE, 100, 0600);
	CHECK(gone_id >= 0);
	shared = shmat(id, NULL, 0);
	gone = shmat(gone_id, NULL, 0);
	CHECK(shared != (void *)-1 && gone != (void *)-1);
	CHECK(shmctl(gone_id, IPC_RMID, NULL) == 0);
	memset(shared, 's', 2 * PAGE);
	shared[4 * PAGE] = 'e';
	gone[3] = 'G';
	CHECK(mprotect(shared + PAGE, PAGE, PROT_READ) == 0);
	pid = prog_child(child, NULL);
	prog_wait_count(step, 1);
	CHECK(shmctl(id, IPC_STAT, &was) == 0);
	prog_ready();
	CHECK(shmctl(id, IPC_STAT, &is) == 0);
	CHECK(is.shm_perm.__key == key && is.shm_segsz == SIZE && is.shm_nattch == was.shm_nattch);
	CHECK(is.shm_perm.mode == was.shm_perm.mode && is.shm_perm.uid == was.shm_perm.uid);
	CHECK(shared[0] == 's' && shared[2 * PAGE - 1] == 's' && shared[2 * PAGE] == 0 && gone[3] == 'G');
	CHECK(shmctl(gone_id, IPC_STAT, &is) == 0 && is.shm_perm.mode & SHM_DEST && is.shm_segsz == 100);
	shared[7] = 'p';
	prog_count(&step[1]);
	prog_reap(pid);
	CHECK(shared[8] == 'c');
	CHECK(shmdt(shared) == 0 && shmdt(gone) == 0);
	CHECK(shmctl(gone_id, IPC_STAT, &is) < 0);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	prog_ok();
}
