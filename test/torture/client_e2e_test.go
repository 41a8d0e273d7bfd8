//go:build e2e

package torture_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/galeserver/gale/test/harness"
)

const (
	// requestTime is how long a client waits for a response.
	requestTime = 20 * time.Second
	// thinkTime is the mean pause between two operations of a client.
	thinkTime = 25 * time.Millisecond
	// crashEvery is the number of tasks of which one ends its worker's process each time.
	crashEvery = 500
)

// queues are the queues of the workers. Only the second one is ever paused.
var queues = []string{"steady", "moody"}

// client performs operations one after the other. Its random choices do not depend on
// responses, so a seed repeats them.
type client struct {
	number int
	urls   []string // of the servers
	rng    *rand.Rand
	h      *history
	http   http.Client
	step   int      // number of operations
	own    []string // ids of its tasks
	files  []string // paths of its files
	flows  []string // ids of its workflows
}

func newClient(urls []string, h *history, seed uint64, number int) *client {
	return &client{
		number: number, urls: urls, h: h,
		rng:  rand.New(rand.NewPCG(seed, uint64(number))),
		http: http.Client{Timeout: requestTime, Transport: &http.Transport{DisableKeepAlives: true}}, // each request may get another process
	}
}

// run performs operations until ctx ends. An operation that has begun is finished.
func (c *client) run(ctx context.Context) {
	for ; ctx.Err() == nil; c.step++ {
		c.operate()
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(c.rng.Int64N(2 * int64(thinkTime)))):
		}
	}
}

// operate performs one random operation.
func (c *client) operate() {
	switch n := c.rng.IntN(100); {
	case n < 24:
		c.enqueue(c.name("t"), c.spec())
	case n < 34:
		c.enqueue(c.hot("t"), c.spec())
	case n < 45:
		c.taskRequest(kindRead, http.MethodGet, c.anyTask(), "")
	case n < 51:
		c.taskRequest(kindCancel, http.MethodDelete, c.anyTask(), "")
	case n < 55:
		c.taskRequest(kindRetry, http.MethodPost, c.anyTask(), "/retry")
	case n < 58:
		c.many()
	case n < 62:
		c.unique()
	case n < 66:
		c.chain()
	case n < 70:
		c.chord()
	case n < 72:
		c.abort()
	case n < 77:
		c.queue()
	case n < 84:
		c.file()
	case n < 86:
		c.tus()
	default:
		c.publish()
	}
}

// server returns the address of one of the servers.
func (c *client) server() string { return c.urls[c.rng.IntN(len(c.urls))] }

// name returns a new id of this client.
func (c *client) name(prefix string) string { return fmt.Sprintf("%s-%d-%d", prefix, c.number, c.step) }

// hot returns an id that the clients use at about the same time.
func (c *client) hot(prefix string) string {
	return fmt.Sprintf("%s-hot-%d-%d", prefix, c.step/40, c.rng.IntN(3))
}

// any returns one of the newest names, or a hot one.
func (c *client) any(own []string, prefix string) string {
	if n := min(len(own), 20); n > 0 && c.rng.IntN(3) > 0 {
		return own[len(own)-1-c.rng.IntN(n)]
	}
	return c.hot(prefix)
}

func (c *client) anyTask() string { return c.any(c.own, "t") }

// response is a response, or status 0 if it was lost.
type response struct {
	status int
	body   []byte
	header http.Header
}

// do sends a request once. Now and then the client gives up early.
func (c *client) do(method, path, contentType string, body []byte) response {
	ctx := context.Background()
	if c.rng.IntN(40) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.rng.IntN(4000))*time.Microsecond)
		defer cancel()
	}
	return c.send(ctx, method, path, contentType, body)
}

func (c *client) send(ctx context.Context, method, path, contentType string, body []byte) (r response) {
	req, err := http.NewRequestWithContext(ctx, method, c.server()+path, bytes.NewReader(body))
	if err != nil {
		return r
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return r
	}
	defer resp.Body.Close()
	if r.body, err = io.ReadAll(resp.Body); err != nil {
		return r // half a response is none
	}
	r.status, r.header = resp.StatusCode, resp.Header
	return r
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a bug in this file
	}
	return text
}

// status records only the status of a response.
func status(r response) func(*op) { return func(o *op) { o.Status = r.status } }

// queue pauses, resumes or reads the second queue. A pause is followed by a resume.
func (c *client) queue() {
	name := queues[1]
	switch c.rng.IntN(3) {
	case 0:
		c.change(kindPause, name)
		<-time.After(time.Duration(c.rng.IntN(300)) * time.Millisecond)
		c.change(kindResume, name)
	default:
		c.readQueue(name)
	}
}

// queueState is a queue in a response.
type queueState struct {
	Queue  string
	Paused bool
}

func (q queueState) text() string {
	if q.Paused {
		return paused
	}
	return ""
}

func (c *client) change(kind, name string) (done bool) {
	seq := c.h.begin(op{Client: c.number, Kind: kind, ID: name})
	r := c.do(http.MethodPost, "/queues/"+name+"/"+kind, "", nil)
	c.h.end(seq, func(o *op) {
		var q queueState
		if o.Status = r.status; json.Unmarshal(r.body, &q) == nil {
			o.Got = q.text()
		}
	})
	return r.status == http.StatusOK
}

func (c *client) readQueue(name string) {
	seq := c.h.begin(op{Client: c.number, Kind: kindQueue, ID: name})
	r := c.do(http.MethodGet, "/queues", "", nil)
	c.h.end(seq, func(o *op) {
		var all []queueState
		o.Status = r.status
		_ = json.Unmarshal(r.body, &all) // a body without the queue: it is empty and not paused
		for _, q := range all {
			if q.Queue == name {
				o.Got = q.text()
			}
		}
	})
}

// digest identifies a content.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// file stores, reads or removes a file.
func (c *client) file() {
	const folder = "torture/"
	switch n := c.rng.IntN(10); {
	case n < 4:
		name := c.name("f")
		if c.rng.IntN(2) == 0 {
			name = c.hot("f")
		}
		c.files = append(c.files, name)
		c.store(folder, name, n%2 == 0)
	case n < 8:
		path := folder + c.any(c.files, "f")
		seq := c.h.begin(op{Client: c.number, Kind: kindDownload, ID: path})
		r := c.do(http.MethodGet, "/upload/"+path, "", nil)
		c.h.end(seq, func(o *op) {
			if o.Status = r.status; r.status == http.StatusOK {
				o.Got = digest(r.body)
			}
		})
	default:
		name := c.any(c.files, "f")
		seq := c.h.begin(op{Client: c.number, Kind: kindRemove, ID: folder + name})
		c.h.end(seq, status(c.do(http.MethodDelete, "/upload?directory=torture&filename="+name, "", nil)))
	}
}

// store uploads a file of up to 256 KiB in a form or by PUT.
func (c *client) store(folder, name string, form bool) {
	content := harness.UploadContent(c.number<<12+c.step, 1+c.rng.IntN(256<<10))
	seq := c.h.begin(op{Client: c.number, Kind: kindStore, ID: folder + name, Content: digest(content)})
	if form {
		contentType, body := harness.UploadForm("torture", name, content)
		c.h.end(seq, status(c.do(http.MethodPost, "/upload", contentType, body)))
		return
	}
	c.h.end(seq, status(c.do(http.MethodPut, "/upload/"+folder+name, "application/octet-stream", content)))
}

func (c *client) publish() {
	channel, text := fmt.Sprint("torture", c.rng.IntN(2)), c.name("m")
	c.post(channel, text)
}

// post publishes a message and reports whether it was accepted.
func (c *client) post(channel, text string) bool {
	seq := c.h.begin(op{Client: c.number, Kind: kindPublish, ID: channel, Content: text})
	r := c.do(http.MethodPost, "/publish/"+channel, "text/plain", []byte(text))
	c.h.end(seq, func(o *op) {
		var n struct{ Seq int64 }
		if o.Status = r.status; r.status == http.StatusOK && json.Unmarshal(r.body, &n) == nil {
			o.N = n.Seq
		}
	})
	return r.status == http.StatusOK
}
