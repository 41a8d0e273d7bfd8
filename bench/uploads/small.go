package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/bench/figure"
	"github.com/galeserver/gale/bench/process"
)

// smallClients is the number of clients that send small files at the same time.
const smallClients = 16

// small compares uploads of many small files, by their size.
func small(ctx context.Context, w io.Writer, dir string, o options, out *figure.Output) error {
	peers, end, err := begin(ctx, filepath.Join(dir, "small"), galeForm, galePut, galeTus, nginx, nginxSynced, tusd, caddy, tornado)
	defer end()
	if err != nil {
		return err
	}
	const command = "go run ./bench/uploads -out bench/results"
	rate := out.Begin(fmt.Sprintf("Small files from %d clients; Gale computes the SHA-256 and syncs", smallClients), command)
	rate.X, rate.Y, rate.Log = "KiB", "files a second", true
	cost := out.Begin(fmt.Sprintf("Small files from %d clients: CPU time of the server", smallClients), command)
	cost.X, cost.Y, cost.Log = "KiB", "CPU per file, ms", true
	for _, size := range o.kib {
		fmt.Fprintf(w, "files of %d KiB from %d clients; files a second, and CPU time of the server for each\n", size, smallClients)
		rates, costs := make([][]float64, len(peers)), make([][]float64, len(peers))
		for round := range o.rounds {
			fmt.Fprintf(w, "round %d:", round+1)
			for i, p := range peers {
				n, took, used, err := p.flood(ctx, size<<10, o.turn)
				if err != nil {
					return fmt.Errorf("%s: %w", p.name, err)
				}
				rates[i] = append(rates[i], float64(n)/took.Seconds())
				costs[i] = append(costs[i], float64(used.Microseconds())/1000/float64(n))
				fmt.Fprintf(w, "  %s %.0f/s %.2f ms", p.name, rates[i][round], costs[i][round])
			}
			fmt.Fprintln(w)
		}
		for i, p := range peers {
			rate.AddRounds(p.name, float64(size), rates[i])
			if p.after == nil { // else it would lack the time of the client
				cost.AddRounds(p.name, float64(size), costs[i])
			}
		}
	}
	return errors.Join(out.Write(rate, "small"), out.Write(cost, "smallcost"))
}

// flood uploads files of a size, each client one after another, for a turn. It returns their
// number, the time until the last one was stored, and the CPU time of the server. All files
// must be in the folder at the end; flood removes them.
func (p *peer) flood(ctx context.Context, size int64, turn time.Duration) (n int64, took, used time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	content := block[:size]
	before, err := process.CPU(p.server.Process.Pid)
	if err != nil {
		return 0, 0, 0, err
	}
	var count atomic.Int64
	var clients sync.WaitGroup
	began := time.Now()
	for range smallClients {
		clients.Go(func() { // ends with the turn, or with the first error
			c := &conn{addr: p.addr}
			defer c.close()
			for time.Since(began) < turn && ctx.Err() == nil {
				name := fmt.Sprintf("%d.bin", count.Add(1))
				err := p.send(ctx, c, name, content)
				if err == nil && p.after != nil {
					err = p.after(filepath.Join(p.folder, name))
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	clients.Wait()
	took = time.Since(began)
	if err := context.Cause(ctx); err != nil {
		return 0, 0, 0, err
	}
	after, err := process.CPU(p.server.Process.Pid)
	if err != nil {
		return 0, 0, 0, err
	}
	return count.Load(), took, after - before, p.clear(size, count.Load())
}

// clear removes the files of the folder, of which n must have the size. Then it writes to
// disk what the servers have not written, so that this does not slow down the next one.
func (p *peer) clear(size, n int64) error {
	entries, err := os.ReadDir(p.folder)
	if err != nil {
		return err
	}
	var whole int64
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Size() == size {
			whole++
		}
		if err := os.Remove(filepath.Join(p.folder, e.Name())); err != nil {
			return err
		}
	}
	if whole != n {
		return fmt.Errorf("%d of %d files of %d bytes are in %s", whole, n, size, p.folder)
	}
	return p.sync()
}

// sync writes to disk what the servers have not written.
func (p *peer) sync() error {
	folder, err := os.Open(p.folder)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }() // opened for reading only
	return unix.Syncfs(int(folder.Fd()))
}

// sumAndSyncHere does in this process what Gale does for each file, for a server that does
// not: it computes the SHA-256, and syncs the file and its folder.
func sumAndSyncHere(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // opened for reading only
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }() // opened for reading only
	return folder.Sync()
}
