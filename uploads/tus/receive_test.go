package tus

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/uploads"
)

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// While a slow body is received, a checkpoint is saved every second.
func TestCheckpoints(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var lastReported int64
		f := newFixture(t, dir, Options{Progress: func(_ string, offset, length int64) {
			if lastReported = offset; length != 100 {
				t.Errorf("Progress called with length %d", length)
			}
		}})
		id := f.create("100", "")
		var sent, onDisk int64
		checkpoints := 0
		slow := readerFunc(func(p []byte) (int, error) {
			state, err := os.Open(f.dataPath(id) + stateSuffix)
			if err != nil {
				return 0, err
			}
			defer state.Close()
			now, err := readState(state)
			if err != nil || now.Offset < onDisk || now.Offset > sent || sent-now.Offset > 40 {
				t.Errorf("%d bytes received, offset on disk %d, before that %d: %v", sent, now.Offset, onDisk, err)
			}
			if now.Offset > onDisk {
				onDisk = now.Offset
				checkpoints++
			}
			if sent == 100 {
				return 0, io.EOF
			}
			time.Sleep(400 * time.Millisecond)
			sent += 10
			return copy(p, "0123456789"), nil
		})
		if resp, err := f.do("PATCH", id, slow, "Upload-Offset", "0"); err != nil || resp.Status != 204 {
			t.Fatalf("%+v, %v", resp, err)
		}
		if checkpoints < 3 || lastReported != 100 {
			t.Errorf("%d checkpoints in four seconds, last offset reported %d", checkpoints, lastReported)
		}
		f.wantStored("a", strings.Repeat("0123456789", 10))
	})
}

// After a failed sync a request saves no checkpoint, even if the next sync succeeds: the
// kernel does not report bytes that it failed to write a second time.
func TestNoCheckpointAfterFailedSync(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{})
	id := f.create("10", "abc")
	e, err := f.acquire(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	held := e.held.(*folderUpload)
	closed, err := os.Open(f.dataPath(id))
	if err != nil {
		t.Fatal(err)
	}
	failing, err := f.store.Resume(t.Context(), closed, "x", uploads.Checkpoint{})
	if err != nil {
		t.Fatal(err)
	}
	defer failing.Discard()
	closed.Close()
	u, _, err := held.Resume(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	for _, upload := range []*uploads.Upload{failing, u} {
		held.upload = upload
		if err := e.saveCheckpoint(t.Context(), uploads.Checkpoint{Size: 7}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("checkpoint: %v", err)
		}
	}
	if e.Offset != 3 {
		t.Errorf("offset %d", e.Offset)
	}
}
