package uploads

import (
	"bytes"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/pool"
)

// smallDisk mounts a tmpfs with these mount options. It needs root. The test is not
// skipped without it, because the behaviour on a full disk is documented.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("gale-test", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a small tmpfs: %v: run this test as root (CAP_SYS_ADMIN)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func free(t *testing.T, dir string) (blocks, inodes uint64) {
	t.Helper()
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Bfree, stat.Ffree
}

func TestFullDisk(t *testing.T) {
	big := string(bytes.Repeat([]byte("big "), 2<<20))
	for kind, change := range storeKinds {
		t.Run(kind, func(t *testing.T) {
			s := openStore(t, smallDisk(t, "size=4m"), Options{Pool: withPool(t, pool.Options{Workers: 2})}, change)
			dir := s.disk.root.Name()
			mustPut(t, s, "d", "before", "content")
			before := tree(t, dir)
			blocks, inodes := free(t, dir)

			f, err := put(t, s, "new/folder", "big", big)
			if !isDiskFull(err) || f.Code != CodeNoSpace || f.Size != 0 {
				t.Errorf("got %+v, %v", f, err)
			}
			wantUnchanged(t, dir, before)
			if b, i := free(t, dir); b != blocks || i != inodes {
				t.Errorf("free: %d blocks, %d inodes; before %d, %d", b, i, blocks, inodes)
			}
			mustPut(t, s, "d", "after", "content")

			// The space of the big file is freed for the file after it.
			body := formBody(filePart("m", "1", "one"), filePart("m", "big", big), filePart("m", "3", "three"))
			resp, err := s.Multipart(t.Context(), bytes.NewBufferString(body), testBoundary)
			if err != nil || resp.Code != CodeNoSpace || resp.Status() != 507 || !codes(resp, 200, 507, 200) {
				t.Errorf("got %+v, %v", resp, err)
			}
			after := tree(t, dir)
			if after["m/1"] != "one" || after["m/3"] != "three" || after["m/big"] != "" {
				t.Error("the files are not those of the response")
			}
		})
	}
}

func TestNoInodesLeft(t *testing.T) {
	eachFull := func(t *testing.T, change func(*syscalls)) {
		s := openStore(t, smallDisk(t, "size=4m,nr_inodes=8"), Options{}, change)
		dir := s.disk.root.Name()
		_, inodes := free(t, dir)
		for i := range inodes - 2 {
			mustPut(t, s, string(rune('a'+i)), "x", "") // uses two inodes: folder and file
			if _, left := free(t, dir); left <= 3 {
				break
			}
		}
		before := tree(t, dir)
		f, err := put(t, s, "1/2/3/4", "a", "content")
		if !isDiskFull(err) || f.Code != CodeNoSpace {
			t.Errorf("got %+v, %v", f, err)
		}
		wantUnchanged(t, dir, before)
		mustPut(t, s, "a", "small", "content")
	}
	for kind, change := range storeKinds {
		t.Run(kind, func(t *testing.T) { eachFull(t, change) })
	}
}

// A server must start on a full disk, because the stored files can still be read.
func TestOpenOnFullDisk(t *testing.T) {
	for kind, change := range storeKinds {
		t.Run(kind, func(t *testing.T) {
			dir := smallDisk(t, "size=4m,nr_inodes=8")
			first := openStore(t, dir, Options{}, change)
			mustPut(t, first, "d", "a", "content")
			for i := range 8 {
				if err := unix.Mknod(filepath.Join(dir, string(rune('a'+i))+".fill"), unix.S_IFREG|0o600, 0); err != nil {
					break
				}
			}
			s := openStore(t, dir, Options{}, change)
			f, err := s.Open("d", "a")
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if f, err := put(t, s, "d", "b", "content"); f.Code != CodeNoSpace {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
}
