package centrifugo

import (
	"slices"
	"testing"
)

func TestPublished(t *testing.T) {
	for message, want := range map[string][]string{
		`{"id":1,"connect":{"client":"c","ping":25,"pong":true}}`:                              nil,
		`{"push":{"channel":"a","pub":{"data":"1","offset":7}}}`:                               {"1"},
		`{"id":3,"publish":{}}` + "\n" + `{"push":{"channel":"a","pub":{"data":"x\ny"}}}`:      {"x\ny"},
		`{"push":{"channel":"a","pub":{"data":"1"}}}` + "\n" + `{"push":{"pub":{"data":"2"}}}`: {"1", "2"},
		`{"push":{"channel":"a","join":{"info":{"client":"c"}}}}`:                              nil,
	} {
		got, ping, err := Published([]byte(message))
		if err != nil || ping || !slices.Equal(got, want) {
			t.Errorf("%s: %q, ping %v, %v; want %q", message, got, ping, err, want)
		}
	}
	if _, ping, err := Published([]byte("{}")); err != nil || !ping {
		t.Errorf("ping %v, %v", ping, err)
	}
	for _, message := range []string{"{", `{"id":2,"error":{"code":103,"message":"permission denied"}}`} {
		if _, _, err := Published([]byte(message)); err == nil {
			t.Errorf("%s: no error", message)
		}
	}
}
