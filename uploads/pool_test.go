package uploads

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/pool"
)

// storeWithBusyPool opens a store whose pool has one worker. The worker is busy until
// free is called.
func storeWithBusyPool(t *testing.T) (s *Store, u *Upload, free func()) {
	p := withPool(t, pool.Options{Workers: 1, Queue: -1})
	s = openStore(t, t.TempDir(), Options{Pool: p})
	u, err := s.Create(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Discard)
	block, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with free
		defer close(ended)
		if err := p.Do(t.Context(), func(context.Context) error { <-block; return nil }); err != nil {
			t.Errorf("block the pool: %v", err)
		}
	}()
	synctest.Wait()
	return s, u, func() { close(block); <-ended }
}

func TestFullPoolRefusesOnlyNewUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, u, free := storeWithBusyPool(t)
		if _, err := s.Create(t.Context(), "", ""); !errors.Is(err, pool.ErrFull) {
			t.Errorf("Create: %v", err)
		}
		unread := func() io.Reader { return readerFunc(func([]byte) (int, error) { t.Error("read"); return 0, io.EOF }) }
		if _, err := s.Multipart(t.Context(), unread(), testBoundary); !errors.Is(err, pool.ErrFull) {
			t.Errorf("Multipart: %v", err)
		}
		written := make(chan error, 1)
		go func() { // ends with free
			_, err := u.Write(t.Context(), []byte("content"))
			written <- err
		}()
		time.Sleep(time.Minute) // fake time of the synctest bubble
		select {
		case err := <-written:
			t.Errorf("Write did not wait: %v", err)
		default:
		}
		free()
		if err := <-written; err != nil {
			t.Errorf("Write: %v", err)
		}
		if f, err := u.Publish(t.Context(), "d", "a"); err != nil || f.SHA256 != sum("content") {
			t.Errorf("Publish: %+v, %v", f, err)
		}
	})
}

func TestFullPoolWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, u, free := storeWithBusyPool(t)
		disconnected := errors.New("client disconnected")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, disconnected)
		defer cancel()
		if _, err := u.Write(ctx, []byte("content")); err != disconnected {
			t.Errorf("Write: %v", err)
		}
		free()
		if _, err := u.Write(t.Context(), []byte("content")); err != nil {
			t.Errorf("Write after a Write whose context has ended: %v", err)
		}
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
