//go:build e2e

package chaos_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
)

// load posts the tasks of the long run, each until it is accepted.
type load struct {
	t      *testing.T
	url    string
	client http.Client
	posts  sync.WaitGroup

	mu        sync.Mutex
	accepted  []string // ids of the accepted tasks
	callbacks []string // ids of those that are callbacks of chords
	refused   int      // requests with 503, or without a response
}

func newLoad(t *testing.T, url string) *load {
	return &load{t: t, url: url, client: http.Client{
		Timeout:   testutil.Patience,
		Transport: &http.Transport{DisableKeepAlives: true}, // each request may get another process
	}}
}

// start begins to post. Single tasks come at a steady rate, and the workflows in
// the same time.
func (l *load) start() {
	l.posts.Go(func() { // ends when all is posted
		for i := range singles {
			id := fmt.Sprint("single-", i)
			<-time.After(time.Second / rate)
			l.posts.Go(func() { l.post(nap(id), id) }) // ends when the task is accepted
		}
	})
	l.posts.Go(func() { // ends when all is accepted
		const pause = time.Second * singles / rate / (chains + groups + chords)
		for i := range chains {
			<-time.After(pause)
			l.postChain(fmt.Sprint("chain-", i))
		}
		for i := range groups {
			<-time.After(pause)
			l.postGroup(fmt.Sprint("group-", i), false)
		}
		for i := range chords {
			<-time.After(pause)
			l.postGroup(fmt.Sprint("chord-", i), true)
		}
	})
}

// wait waits until everything is accepted.
func (l *load) wait() { l.posts.Wait() }

// progress is the number of tasks that are accepted.
func (l *load) progress() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

type object map[string]any

func nap(id string) object { return object{"task": "nap", "args": []int{20}, "id": id} }

func (l *load) postChain(name string) {
	var ids []string
	var members []object
	for k := range 3 {
		ids = append(ids, fmt.Sprint(name, "-", k))
		members = append(members, nap(ids[k]))
	}
	l.post(object{"chain": members}, ids...)
}

func (l *load) postGroup(name string, callback bool) {
	var ids []string
	var members []object
	for k := range 10 {
		ids = append(ids, fmt.Sprint(name, "-", k))
		members = append(members, nap(ids[k]))
	}
	group := object{"id": name, "group": members}
	if callback {
		id := name + "-count"
		ids = append(ids, id)
		group["callback"] = object{"task": "count", "id": id}
		l.mu.Lock()
		l.callbacks = append(l.callbacks, id)
		l.mu.Unlock()
	}
	l.post(group, ids...)
}

// post posts a body until it is accepted, then the ids count as accepted.
func (l *load) post(body object, ids ...string) {
	text, err := json.Marshal(body)
	if err != nil {
		l.t.Error(err)
		return
	}
	for end := time.Now().Add(testutil.Patience); !l.try(string(text)); <-time.After(50 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Errorf("not accepted within %v: %s", testutil.Patience, text)
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = append(l.accepted, ids...)
}

// try posts a body once and reports whether it is accepted. 200 means that an earlier
// request was accepted and its response was lost.
func (l *load) try(body string) bool {
	resp, err := l.client.Post(l.url+"/tasks", "application/json", strings.NewReader(body))
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body) // only the status matters
		_ = resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusAccepted, http.StatusOK:
			return true
		case http.StatusServiceUnavailable:
		default:
			l.t.Errorf("POST /tasks %s: status %d", body, resp.StatusCode)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused++
	return false
}
