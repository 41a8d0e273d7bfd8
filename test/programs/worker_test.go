package programs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// worker is a program that runs tasks, as a user might write it. Its tasks are greet, which
// returns a text with the first argument, hold, which ends when the file in the first
// argument exists, and fork, which starts a process in a session of its own and returns its
// pid.
type worker struct {
	mode    string // in the results of greet
	client  http.Client
	session string
	leaving chan struct{} // closed by SIGTERM
	running sync.WaitGroup
	mu      sync.Mutex
	holds   []string
}

type lease struct {
	Lease string
	Task  struct {
		ID, Task string
		Args     []string
	}
}

// runWorker runs until SIGTERM, or until the server has ended.
func runWorker(mode string) int {
	path := strings.TrimPrefix(os.Getenv("GALE_URL"), "unix:")
	w := &worker{mode: mode, leaving: make(chan struct{}), client: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
	fmt.Println("worker pid", os.Getpid(), "queues", os.Getenv("GALE_QUEUES"), "secret", os.Getenv("SECRET"))
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() { // ends with the process
		<-term
		if mode == "stubborn" {
			fmt.Println("ignoring SIGTERM")
			return
		}
		close(w.leaving)
	}()
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4)
	}()
	if mode == "crash" {
		return 5
	}
	var announced struct{ Session string }
	tasks := []map[string]string{{"name": "greet"}, {"name": "hold"}, {"name": "fork"}}
	if err := w.call("announce", map[string]any{"worker": os.Getenv("GALE_WORKER"), "version": mode, "tasks": tasks}, &announced); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	w.session = announced.Session
	for {
		select {
		case <-w.leaving:
			w.running.Wait()
			fmt.Println("worker leaves")
			return 0
		default:
		}
		if err := w.lease(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
	}
}

func (w *worker) lease() error {
	w.mu.Lock()
	holds := append([]string{}, w.holds...)
	w.mu.Unlock()
	var leased struct{ Leases []lease }
	request := map[string]any{"session": w.session, "queues": strings.Split(os.Getenv("GALE_QUEUES"), ","), "max": 1, "wait": 1, "holds": holds}
	if err := w.call("lease", request, &leased); err != nil {
		return err
	}
	for _, l := range leased.Leases {
		w.mu.Lock()
		w.holds = append(w.holds, l.Lease)
		w.mu.Unlock()
		w.running.Go(func() { w.run(l) }) // ends with the task
	}
	return nil
}

func (w *worker) run(l lease) {
	var result any
	switch l.Task.Task {
	case "greet":
		result = fmt.Sprintf("%s greets %s from %s", w.mode, l.Task.Args[0], os.Getenv("GALE_WORKER"))
	case "hold":
		fmt.Println("holding", l.Task.ID)
		for result = "released"; ; {
			if _, err := os.Stat(l.Task.Args[0]); err == nil {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	case "fork":
		cmd := exec.Command("setsid", "sleep", "600")
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		result = cmd.Process.Pid
	}
	var ended []struct {
		Code   int
		Reason string
	}
	err := w.call("finish", []map[string]any{{"lease": l.Lease, "state": "success", "result": result}}, &ended)
	if err != nil || len(ended) != 1 || ended[0].Code != 200 {
		fmt.Fprintln(os.Stderr, "finish:", err, ended)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, id := range w.holds {
		if id == l.Lease {
			w.holds = append(w.holds[:i:i], w.holds[i+1:]...)
			return
		}
	}
}

// call sends a request of the worker protocol.
func (w *worker) call(name string, request, response any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	resp, err := w.client.Post("http://gale/workers/"+name, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", name, resp.StatusCode, text)
	}
	if err == nil {
		err = json.Unmarshal(text, response)
	}
	return err
}
