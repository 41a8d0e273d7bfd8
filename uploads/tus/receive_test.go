package tus

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/uploads"
)

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// dependants is a context that never ends. It counts the contexts that wait for its end.
type dependants struct {
	context.Context
	count atomic.Int64
}

func (*dependants) Done() <-chan struct{} { return make(chan struct{}) }

func (*dependants) Value(any) any { return nil }

// AfterFunc is called by package context for a context that is derived from d, and its result
// when that one has ended.
func (d *dependants) AfterFunc(func()) (stop func() bool) {
	d.count.Add(1)
	return func() bool { return d.count.Add(-1) >= 0 }
}

// A request whose context does not end with it, as that of fasthttp, leaves no context behind.
func TestContextsEnd(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{})
	d := &dependants{Context: context.Background()}
	id := f.create("10", "")
	for _, offset := range []int{0, 5, 3} { // the last one is refused
		r := &Request{Method: "PATCH", ID: id, Length: -1, Body: strings.NewReader("01234"), Header: func(name string) string {
			return map[string]string{"Tus-Resumable": Version, "Content-Type": offsetStream, "Upload-Offset": strconv.Itoa(offset)}[name]
		}}
		resp, err := f.Serve(d, r)
		if n := d.count.Load(); n != 0 {
			t.Errorf("offset %d, %d, %v: %d contexts have not ended", offset, resp.Status, err, n)
		}
	}
	f.wantStored("a", "0123401234")
}

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
