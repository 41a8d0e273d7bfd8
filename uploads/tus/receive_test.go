package tus

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gale/uploads"
)

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A slow body has a checkpoint every second: what it tells is on disk, so that a
// kill costs no more than that.
func TestCheckpoints(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var path string
		var offsets []int64
		f := newFixture(t, dir, Options{Progress: func(_ string, offset, length int64) {
			if path == "" {
				return // its creation
			}
			state, err := os.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer state.Close()
			if _, p, err := readState(state); err != nil || p.Offset != offset || length != 100 {
				t.Errorf("on disk is %d of %d, told is %d, %v", p.Offset, length, offset, err)
			}
			offsets = append(offsets, offset)
		}})
		path = f.open(f.create("100", "")) + stateSuffix
		id := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], stateSuffix)
		pieces := 10
		slow := readerFunc(func(p []byte) (int, error) {
			if pieces == 0 {
				return 0, io.EOF
			}
			pieces--
			time.Sleep(400 * time.Millisecond)
			return copy(p, "0123456789"), nil
		})
		began := time.Now()
		if a, err := f.do("PATCH", id, slow, "Upload-Offset", "0"); err != nil || a.Status != 204 {
			t.Fatalf("%+v, %v", a, err)
		}
		if took := time.Since(began); took < 4*time.Second || took > 5*time.Second || len(offsets) < 4 {
			t.Errorf("checkpoints at %d within %v", offsets, took)
		}
		last := int64(0)
		for _, offset := range offsets {
			if offset < last || offset-last > 40 {
				t.Errorf("checkpoints at %d", offsets)
			}
			last = offset
		}
		f.stored("a", strings.Repeat("0123456789", 10))
	})
}

// Behind a sync that failed there is no checkpoint any more, also if the next sync
// succeeds: the kernel has forgotten by then what it could not write.
func TestNoCheckpointBehindAFailedSync(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{})
	id := f.create("10", "abc")
	e, err := f.acquire(t.Context(), id)
	if err == nil {
		err = e.openData()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	closed, err := os.Open(f.open(id))
	if err != nil {
		t.Fatal(err)
	}
	failing, err := f.store.Continue(t.Context(), closed, "x", uploads.Mark{})
	if err != nil {
		t.Fatal(err)
	}
	defer failing.Discard()
	closed.Close()
	u, err := f.store.Continue(t.Context(), e.data, "x", e.mark())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	for _, upload := range []*uploads.Upload{failing, u} {
		if err := e.checkpoint(t.Context(), upload, uploads.Mark{Size: 7}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("checkpoint: %v", err)
		}
	}
	if e.Offset != 3 {
		t.Errorf("offset %d", e.Offset)
	}
}
