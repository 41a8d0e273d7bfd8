// Command uploads sends one large file to Gale, to nginx and to Tornado in turn
// and prints how fast each was beside the others: make bench-uploads.
//
// What counts is a file that is on disk and whose SHA-256 is known. Gale does
// that while it receives; nginx's dav module takes the file by PUT, then
// sha256sum and sync do the rest; the seed application, on Tornado, holds the
// file in memory and writes it, and does no more. Gale gets it once more by tus,
// in one PATCH. They alternate, and each round is compared within itself: on a
// busy machine single figures mean little.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	size := flag.Int64("mib", 512, "size of the file, in MiB")
	rounds := flag.Int("rounds", 5, "how often each server gets it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *size<<20, *rounds)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "uploads:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, size int64, rounds int) (err error) {
	dir, err := os.MkdirTemp("", "gale-uploads-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, end := context.WithCancel(ctx) // the servers end with it
	var peers []*peer
	defer func() {
		end()
		for _, p := range peers {
			_ = p.server.Wait() // killed
		}
	}()
	for _, begin := range []func(context.Context, string) (*peer, error){gale, nginx, galeTus, tornado} {
		p, err := begin(ctx, dir)
		if err != nil {
			return err
		}
		peers = append(peers, p)
	}
	if _, err := fmt.Fprintf(w, "%d MiB a round; seconds, and throughput beside that of nginx, sha256sum and sync\n", size>>20); err != nil {
		return err
	}
	ratios := make([][]float64, len(peers))
	var resumed []float64 // by tus, beside the form
	for round := range rounds {
		took := make([]float64, len(peers))
		for i, p := range peers {
			began := time.Now()
			if err := p.upload(ctx, size); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			took[i] = time.Since(began).Seconds()
			if err := os.Remove(p.path); err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "round %d:", round+1)
		for i, p := range peers {
			ratios[i] = append(ratios[i], took[1]/took[i])
			fmt.Fprintf(w, "  %s %.2f s (%.2f)", p.name, took[i], took[1]/took[i])
		}
		fmt.Fprintln(w)
		resumed = append(resumed, took[0]/took[2])
	}
	slices.Sort(resumed)
	fmt.Fprintf(w, "median of tus beside the form: %.2f\nmedian:", resumed[len(resumed)/2])
	for i, p := range peers {
		slices.Sort(ratios[i])
		fmt.Fprintf(w, "  %s %.2f", p.name, ratios[i][len(ratios[i])/2])
	}
	_, err = fmt.Fprintln(w)
	return err
}
