package s3

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// startPlace starts a place.
func startPlace(t *testing.T) place {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return newPlace(t, sharedtest.StateServer(t), nil)
}

// forget removes the locks in Redis: they have expired, or Redis has lost its data.
func (p place) forget(t *testing.T) {
	t.Helper()
	if err := sharedtest.Open(t, p.redis).FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

var noLimits = tus.Limits{Bytes: 1 << 40, Uploads: 1000}

const uploadID = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func newState(length int64) tus.State {
	return tus.State{
		Attributes: tus.Attributes{ID: uploadID, Directory: "tus", Filename: "a"},
		Progress:   tus.Progress{Length: length, Expires: time.Now().Add(time.Hour).Unix()},
	}
}

// create creates an upload and holds it.
func create(t *testing.T, r *Resumable, length int64) tus.Held {
	t.Helper()
	h, err := r.Create(t.Context(), newState(length), noLimits)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func hold(t *testing.T, r *Resumable) (tus.Held, tus.State) {
	t.Helper()
	h, s, err := r.Hold(t.Context(), uploadID)
	if err != nil {
		t.Fatal(err)
	}
	return h, s
}

// write appends text, and returns the progress to save.
func write(t *testing.T, h tus.Held, s tus.State, text []byte) (tus.Progress, *uploads.Upload) {
	t.Helper()
	u, _, err := h.Resume(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	point, err := u.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	s.Offset, s.Hash = point.Size, point.HashState
	return s.Progress, u
}

// A holder that was suspended until its lock expired, and then goes on, changes nothing: neither
// the offset, nor the bytes of the holder that has continued the upload.
func TestFence(t *testing.T) {
	p := startPlace(t)
	a, b := p.open(t, uploads.Options{}), p.open(t, uploads.Options{})
	text := bytes.Repeat([]byte("right"), 3<<20)
	wrong := bytes.Repeat([]byte("wrong"), 3<<20)
	old := create(t, a, int64(len(text)))
	defer old.Close()
	// The old holder sends a part, and saves nothing.
	_, suspended := write(t, old, newState(int64(len(text))), wrong[:minPartSize+7])
	defer suspended.Discard()
	p.forget(t)
	current, state := hold(t, b)
	defer current.Close()
	if state.Offset != 0 {
		t.Fatalf("offset %d", state.Offset)
	}
	saved, u := write(t, current, state, text)
	if err := current.Save(t.Context(), saved); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the old holder learns that it has lost the lock", old.Wanted)
	if _, err := suspended.Write(t.Context(), wrong[:minPartSize]); err != nil { // a part with a number that it has reserved
		t.Errorf("late part: %v", err)
	}
	late := newState(int64(len(text))).Progress
	late.Offset = suspended.Size()
	if err := old.Save(t.Context(), late); !errors.Is(err, tus.ErrTaken) {
		t.Errorf("late checkpoint: %v", err)
	}
	if _, err := suspended.Write(t.Context(), wrong[:2*minPartSize]); !errors.Is(err, tus.ErrTaken) {
		t.Errorf("late part: %v", err)
	}
	if err := old.Save(t.Context(), tus.Progress{Phase: tus.PhaseDiscarded}); !errors.Is(err, tus.ErrTaken) {
		t.Errorf("late end: %v", err)
	}
	if s, err := a.Look(t.Context(), uploadID); err != nil || s.Offset != int64(len(text)) {
		t.Errorf("%+v, %v", s.Progress, err)
	}
	if _, err := u.Publish(t.Context(), "tus", "a"); err != nil {
		t.Fatal(err)
	}
	p.wantObject(t, "tus/a", text)
}

// wantObject checks the content of an object.
func (p place) wantObject(t *testing.T, key string, text []byte) {
	t.Helper()
	p.service.mu.Lock()
	defer p.service.mu.Unlock()
	if got := p.service.objects["/bucket/"+p.service.prefix+"/"+key].text; !bytes.Equal(got, text) {
		t.Errorf("%s: %d bytes of %d, or other content", key, len(got), len(text))
	}
}

// The bytes of a killed process after its last checkpoint are not counted, and its parts do not get
// into the file.
func TestKilled(t *testing.T) {
	p := startPlace(t)
	a, b := p.open(t, uploads.Options{}), p.open(t, uploads.Options{})
	text := bytes.Repeat([]byte("0123456789"), 2<<20)
	h := create(t, a, int64(len(text)))
	progress, u := write(t, h, newState(int64(len(text))), text[:minPartSize+7])
	if err := h.Save(t.Context(), progress); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(t.Context(), bytes.Repeat([]byte("x"), 2*minPartSize)); err != nil {
		t.Fatal(err)
	}
	p.forget(t) // the lock has expired
	next, state := hold(t, b)
	defer next.Close()
	if state.Offset != minPartSize+7 {
		t.Fatalf("offset %d", state.Offset)
	}
	saved, u2 := write(t, next, state, text[state.Offset:])
	if err := next.Save(t.Context(), saved); err != nil {
		t.Fatal(err)
	}
	if _, err := u2.Publish(t.Context(), "tus", "a"); err != nil {
		t.Fatal(err)
	}
	u.Discard()
	p.wantObject(t, "tus/a", text)
}

// If the process is killed after the file has its name, or the response is lost, the next request
// finds it.
func TestPublishedBefore(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": minPartSize + 10} {
		p := startPlace(t)
		c := p.open(t, uploads.Options{})
		text := bytes.Repeat([]byte("x"), size)
		h := create(t, c, int64(size))
		progress, u := write(t, h, newState(int64(size)), text)
		if err := h.Save(t.Context(), progress); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Publish(t.Context(), "tus", "a"); err != nil {
			t.Fatal(err)
		}
		h.Close()
		for range 2 {
			h, _ = hold(t, c)
			u, _, err := h.Resume(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if f, err := u.Publish(t.Context(), "tus", "a"); err != nil || f.Size != int64(size) {
				t.Errorf("%s: %+v, %v", name, f, err)
			}
			h.Close()
		}
		p.wantObject(t, "tus/a", text)
	}
}

// A sweep publishes a complete upload whose process was killed, and later removes all that is
// left of it.
func TestSweepPublishes(t *testing.T) {
	p := startPlace(t)
	text := bytes.Repeat([]byte("x"), minPartSize+10)
	r := p.open(t, uploads.Options{})
	h := create(t, r, int64(len(text)))
	progress, u := write(t, h, newState(int64(len(text))), text)
	if err := h.Save(t.Context(), progress); err != nil {
		t.Fatal(err)
	}
	u.Discard()
	visited := 0
	visit := func(held tus.Held, s tus.State) error {
		visited++
		u, _, err := held.Resume(t.Context())
		if err == nil {
			_, err = u.Publish(t.Context(), s.Directory, s.Filename)
		}
		s.Phase = tus.PhaseStored
		return errors.Join(err, held.Save(t.Context(), s.Progress))
	}
	sweep := func(want int) {
		t.Helper()
		if err := r.Sweep(t.Context(), 0, visit); err != nil || visited != want {
			t.Errorf("sweep: %v, visited %d", err, visited)
		}
	}
	sweep(0) // the upload is held
	h.Close()
	sweep(1)
	p.wantObject(t, "tus/a", text)
	sweep(1)
	if err := r.bucket.Close(); err != nil { // waits for the removal
		t.Fatal(err)
	}
	if len(p.service.objects) != 1 || len(p.service.multiparts) != 0 {
		t.Errorf("left: %d objects, %d multipart uploads", len(p.service.objects), len(p.service.multiparts))
	}
	if _, err := r.Look(t.Context(), uploadID); !errors.Is(err, tus.ErrNotFound) {
		t.Errorf("look: %v", err)
	}
}

// If Redis forgets how many uploads there are, a sweep counts them again.
func TestLimitsForgotten(t *testing.T) {
	p := startPlace(t)
	r := p.open(t, uploads.Options{})
	create(t, r, 100).Close()
	other := newState(50)
	other.ID = strings.Repeat("B", 26)
	limits := tus.Limits{Bytes: 149, Uploads: 10}
	p.forget(t)
	if err := r.Sweep(t.Context(), time.Hour, func(tus.Held, tus.State) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Create(t.Context(), other, limits); !errors.Is(err, tus.ErrFull) {
		t.Errorf("over the limit: %v", err)
	}
	h, _ := hold(t, r)
	if err := h.Save(t.Context(), tus.Progress{Phase: tus.PhaseDiscarded}); err != nil {
		t.Fatal(err)
	}
	h.Close()
	h, err := r.Create(t.Context(), other, limits)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
}

// If the response to a write of the state is lost, the library repeats it, and the service
// refuses it because of the state itself.
func TestLostResponseOfState(t *testing.T) {
	p := startPlace(t)
	r := p.open(t, uploads.Options{})
	var lost atomic.Int64
	p.service.mu.Lock()
	p.service.after = func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, stateObjects) && lost.Add(1)%2 == 1 {
			panic(http.ErrAbortHandler)
		}
	}
	p.service.mu.Unlock()
	h := create(t, r, 10)
	defer h.Close()
	progress, u := write(t, h, newState(10), []byte("hello"))
	defer u.Discard()
	if err := h.Save(t.Context(), progress); err != nil || lost.Load() < 4 {
		t.Errorf("%d requests: %v", lost.Load(), err)
	}
	if s, err := r.Look(t.Context(), uploadID); err != nil || s.Offset != 5 {
		t.Errorf("%+v, %v", s, err)
	}
}

// Parts of a resumable upload are not removed while it is unfinished, however old they are. If
// the service has removed them, the upload is lost.
func TestOldParts(t *testing.T) {
	p := startPlace(t)
	r := p.open(t, uploads.Options{})
	r.bucket.opts.Expiry = time.Nanosecond
	h := create(t, r, 3*minPartSize)
	defer h.Close()
	progress, u := write(t, h, newState(3*minPartSize), make([]byte, minPartSize+1))
	if err := h.Save(t.Context(), progress); err != nil {
		t.Fatal(err)
	}
	p.service.mu.Lock()
	orphan := "/bucket/" + r.dataFolder(strings.Repeat("B", 26)) + "x" // written after the end of its upload
	p.service.objects[orphan] = object{modified: time.Now().Add(-time.Hour)}
	objects := len(p.service.objects)
	p.service.mu.Unlock()
	if n, err := r.bucket.sweep(t.Context()); err != nil || n != 0 {
		t.Errorf("removed %d: %v", n, err)
	}
	if _, there := p.service.objects[orphan]; there || len(p.service.objects) != objects-1 {
		t.Errorf("%d objects of %d", len(p.service.objects), objects)
	}
	p.service.mu.Lock()
	clear(p.service.multiparts)
	p.service.mu.Unlock()
	if _, err := u.Write(t.Context(), make([]byte, 2*minPartSize-1)); err != nil {
		t.Fatal(err)
	}
	progress.Offset = 3 * minPartSize
	if err := h.Save(t.Context(), progress); !errors.Is(err, tus.ErrUnreadable) {
		t.Errorf("save: %v", err)
	}
	u.Discard()
}

// Without Redis, requests for uploads fail so that clients try again.
func TestNoRedis(t *testing.T) {
	p := startPlace(t)
	b := p.service.open(t, Options{})
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer rdb.Close()
	r := b.Resumable(uploads.New(b.Backend(), uploads.Options{}), rdb)
	if _, _, err := r.Hold(t.Context(), uploadID); !errors.Is(err, uploads.ErrUnavailable) {
		t.Errorf("hold: %v", err)
	}
	if _, err := r.Create(t.Context(), newState(1), noLimits); !errors.Is(err, uploads.ErrUnavailable) {
		t.Errorf("create: %v", err)
	}
}

// A state that this package has not written is an upload that is lost.
func TestUnreadableState(t *testing.T) {
	p := startPlace(t)
	r := p.open(t, uploads.Options{})
	for _, text := range []string{"", "{", `{"id":"OTHER"}`, `{"id":"` + uploadID + `","offset":5}`} {
		p.service.mu.Lock()
		p.service.objects["/bucket/"+r.stateKey(uploadID)] = object{text: []byte(text), modified: time.Now().Add(-2 * time.Hour)}
		p.service.mu.Unlock()
		if _, _, err := r.Hold(t.Context(), uploadID); !errors.Is(err, tus.ErrUnreadable) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := r.Sweep(t.Context(), time.Hour, nil); err != nil {
		t.Error(err)
	}
	if len(p.service.objects) != 0 {
		t.Error("the state is left")
	}
}
