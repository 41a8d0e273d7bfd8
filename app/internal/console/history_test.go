package console

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// All pages of a process share one request to the admin endpoint.
func TestHistoryIsReadOnceForAllPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := New(&store{}, Options{GetAdmin: func(_ context.Context, page string) (int, []byte, error) {
			if page != "/history" {
				t.Errorf("page %s", page)
			}
			requests++
			time.Sleep(time.Second)
			return 200, []byte(`{"series":{}}`), nil
		}})
		var pages sync.WaitGroup
		for range 50 {
			pages.Go(func() { // ends with the history
				if text, err := c.History(t.Context()); err != nil || string(text) != `{"series":{}}` {
					t.Errorf("%s, %v", text, err)
				}
			})
		}
		pages.Wait()
		if requests != 1 {
			t.Errorf("%d requests", requests)
		}
		time.Sleep(historyFresh)
		if _, err := c.History(t.Context()); err != nil || requests != 2 {
			t.Errorf("later: %d requests, %v", requests, err)
		}
	})
}

func TestHistoryWithoutAnEndpoint(t *testing.T) {
	if _, err := New(&store{}, Options{}).History(t.Context()); !errors.Is(err, ErrAdminOff) {
		t.Error(err)
	}
	secret := errors.New("dial 10.0.0.1: secret")
	for _, respond := range []func() (int, []byte, error){response(0, "", secret), response(404, "not found", nil)} {
		c := New(&store{}, Options{GetAdmin: func(context.Context, string) (int, []byte, error) { return respond() }})
		if _, err := c.History(t.Context()); !errors.Is(err, ErrAdminAway) || strings.Contains(ErrAdminAway.Error(), "secret") {
			t.Error(err)
		}
	}
}
