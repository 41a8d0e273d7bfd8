package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/galeserver/gale/bench/figure"
)

// growthUploads is the number of uploads, and growthPages that of pages, that are measured for
// each number of files.
const (
	growthUploads = 50
	growthPages   = 5
)

// growth measures one upload of 10 KiB, and a page of the list of files, by the number of
// files in the folder.
func growth(ctx context.Context, w io.Writer, dir string, files []int64, out *figure.Output) error {
	peers, end, err := begin(ctx, filepath.Join(dir, "growth"), galePut, nginxSynced, nginx)
	defer end()
	if err != nil {
		return err
	}
	const command = "go run ./bench/uploads -out bench/results"
	one := out.Begin("One upload of 10 KiB, by the number of files in its folder", command)
	one.X, one.Y, one.Log = "files", "ms", true
	page := out.Begin("A page of 1,000 entries of the list, by the number of files in the folder", command)
	page.X, page.Y, page.Log = "files", "ms", true
	fmt.Fprintln(w, "one upload of 10 KiB, and a page of the list, by the number of files in the folder; ms")
	for i, n := range files {
		fmt.Fprintf(w, "%d files:", n)
		for _, p := range peers {
			before := int64(0)
			if i > 0 {
				before = files[i-1]
			}
			if err := p.fill(before, n); err != nil {
				return err
			}
			took, err := p.uploads(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			one.AddRounds(p.name, float64(n), took)
			fmt.Fprintf(w, "  %s %.2f", p.name, median(took))
		}
		took, err := pages(ctx, peers[0].addr)
		if err != nil {
			return err
		}
		page.AddRounds("gale", float64(n), took)
		fmt.Fprintf(w, "  a page of the list %.2f\n", median(took))
	}
	if err := out.Write(one, "growth"); err != nil {
		return err
	}
	return out.Write(page, "growthlist")
}

// fill adds empty files to the folder, so that it has n of them.
func (p *peer) fill(before, n int64) error {
	if err := os.MkdirAll(p.folder, 0o750); err != nil {
		return err
	}
	for i := before; i < n; i++ {
		file, err := os.Create(filepath.Join(p.folder, fmt.Sprintf("file-%09d.bin", i)))
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return p.sync()
}

// uploads uploads files one after another, and removes them. It returns the milliseconds that
// each took.
func (p *peer) uploads(ctx context.Context) (took []float64, err error) {
	c := &conn{addr: p.addr}
	defer c.close()
	for i := range growthUploads + 1 { // the first one opens the connection
		name := fmt.Sprintf("new-%d.bin", i)
		path := filepath.Join(p.folder, name)
		began := time.Now()
		err := p.send(ctx, c, name, block[:10<<10])
		if err == nil && p.after != nil {
			err = p.after(path)
		}
		if err == nil && i > 0 {
			took = append(took, milliseconds(time.Since(began)))
		}
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

// pages requests the first page of the list of Gale. It returns the milliseconds that each
// request took.
func pages(ctx context.Context, addr string) (took []float64, err error) {
	c := &conn{addr: addr}
	defer c.close()
	for range growthPages {
		began := time.Now()
		if _, err := c.do(ctx, request{method: http.MethodGet, target: "/upload/" + directory + "/?limit=1000"}, nil); err != nil {
			return nil, err
		}
		took = append(took, milliseconds(time.Since(began)))
	}
	return took, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
