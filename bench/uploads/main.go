// Command uploads compares uploads to Gale, nginx, tusd, Caddy and Tornado: make bench-uploads.
//
// First it measures the throughput of one large upload, by the size of the file. An upload is
// complete when the file is on disk and its SHA-256 is known. Gale computes the SHA-256 while it
// receives the file, by a form or by tus in one PATCH. nginx's dav module receives a PUT, followed
// by sha256sum and sync. tusd receives tus in one PATCH, into its filestore, followed by the same.
// The application on Tornado keeps the file in memory and writes it without a SHA-256. The servers
// run in turns, and ratios are computed within a round, because absolute times vary on a busy
// machine.
//
// Then it sends many small files from 16 clients. Here the other servers neither compute a
// SHA-256 nor sync; for one of two nginxes the client does.
//
// Then 500 clients send a file slowly, each to one server after another, and a probe measures
// the time of GET / beside them.
//
// The last part measures one small upload, and one page of the list of files, by the number
// of files in the folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/galeserver/gale/bench/figure"
)

func main() {
	mib := flag.String("mib", "1,16,128,512", "`sizes` of the large file in MiB, comma separated; empty: no large files")
	kib := flag.String("small", "10,1024", "`sizes` of small files in KiB, comma separated; empty: no small files")
	files := flag.String("growth", "1,10000,100000", "`numbers` of files in a folder, comma separated; empty: no growth")
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "`number` of rounds")
	flag.DurationVar(&o.turn, "turn", 700*time.Millisecond, "`time` that small files are sent to one server")
	flag.IntVar(&o.slow, "slow", 500, "`number` of slow clients; 0: none")
	var out figure.Output
	out.Flags(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.parse(*mib, *kib, *files)
	if err == nil {
		err = out.Check()
	}
	if err == nil {
		err = run(ctx, os.Stdout, o, &out)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "uploads:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	mib, kib []int64 // sizes of large and small files
	files    []int64 // numbers of files in a folder
	rounds   int
	turn     time.Duration
	slow     int
}

func (o *options) parse(mib, kib, files string) (err error) {
	if o.rounds < 1 || o.turn < time.Millisecond || o.slow < 0 || o.slow > 10_000 {
		return errors.New("-rounds must be at least 1, -turn at least 1ms, and -slow from 0 to 10000")
	}
	if o.mib, err = parse("mib", mib, 1024); err != nil {
		return err
	}
	if o.kib, err = parse("small", kib, 1024); err != nil {
		return err
	}
	o.files, err = parse("growth", files, 10_000_000)
	if !slices.IsSorted(o.files) {
		err = errors.New("-growth: the numbers must be in ascending order")
	}
	return err
}

// parse reads numbers from 1 to most. An empty text is no numbers.
func parse(name, text string, most int64) (all []int64, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("-%s: %q is not a number from 1 to %d", name, part, most)
		}
		all = append(all, n)
	}
	return all, nil
}

func run(ctx context.Context, w io.Writer, o options, out *figure.Output) (err error) {
	dir, err := os.MkdirTemp("", "gale-uploads-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if len(o.mib) > 0 {
		if err := large(ctx, w, dir, o, out); err != nil {
			return err
		}
	}
	if len(o.kib) > 0 {
		if err := small(ctx, w, dir, o, out); err != nil {
			return err
		}
	}
	if o.slow > 0 {
		if err := slow(ctx, w, dir, o.slow, out); err != nil {
			return err
		}
	}
	if len(o.files) > 0 {
		return growth(ctx, w, dir, o.files, out)
	}
	return nil
}
