// Command shop has a part of each kind: routes with input, typed tasks, a task for
// uploaded pictures, a schedule and a flag of its own.
//
//	go run ./docs/example/shop -port 8000 -most 5
//	curl -d '{"customer":"Ann","copies":2}' -H 'Content-Type: application/json' http://127.0.0.1:8000/orders
//	curl -F 'pictures=@cover.png' http://127.0.0.1:8000/upload
package main

import (
	"context"
	"flag"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

// Order is what a customer wants.
type Order struct {
	Customer string `json:"customer"`
	Copies   int    `json:"copies" default:"1"`
}

var printOrder = jobs.Define("print_order", func(ctx context.Context, job *jobs.Job, in Order) (string, error) {
	for i := range in.Copies {
		job.Progress(100*i/in.Copies, fmt.Sprintf("copy %d", i+1))
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Sprintf("printed %d for %s", in.Copies, in.Customer), nil
}, jobs.Retries(3), jobs.Timeout(time.Minute))

// Picture is an uploaded file.
type Picture struct {
	Directory string `json:"directory"`
	Filename  string `json:"filename"`
}

// Size is that of a picture in pixels.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

var measure = jobs.Define("measure_picture", func(ctx context.Context, _ *jobs.Job, in Picture) (Size, error) {
	file, err := app.From(ctx).Uploads.Open(in.Directory, in.Filename)
	if err != nil {
		return Size{}, jobs.NoRetry(err)
	}
	defer file.Close() //nolint:errcheck // only read
	config, _, err := image.DecodeConfig(file)
	if err != nil {
		return Size{}, jobs.NoRetry(err)
	}
	return Size{config.Width, config.Height}, nil
})

var closeDay = jobs.Define("close_day", func(context.Context, *jobs.Job, struct{}) (string, error) {
	return "closed " + time.Now().UTC().Format(time.DateOnly), nil
})

// shop is the application with the values of its flags.
type shop struct{ most int }

func main() {
	s := &shop{}
	app.Main(app.Application{
		Name:        "shop",
		Flags:       func(f *flag.FlagSet) { f.IntVar(&s.most, "most", 10, "`number` of copies that an order may have") },
		Check:       s.check,
		Tasks:       []jobs.Definition{printOrder.Definition(), measure.Definition(), closeDay.Definition()},
		UploadTasks: []app.UploadTask{{Name: "measure_picture", Accepts: isPicture}},
		Schedules:   []app.Schedule{{Task: "close_day", At: "CRON_TZ=Europe/Berlin 0 20 * * *"}},
		Routes:      s.routes,
	})
}

func (s *shop) check() []error {
	if s.most < 1 {
		return []error{fmt.Errorf("-most: %d is less than 1", s.most)}
	}
	return nil
}

func isPicture(filename string) bool {
	return slices.Contains([]string{".png", ".jpg", ".jpeg"}, strings.ToLower(path.Ext(filename)))
}

func (s *shop) routes(services *app.Services) ([]server.Route, error) {
	return []server.Route{{Method: "POST", Path: "/orders", Handler: func(ctx *fasthttp.RequestCtx) error {
		var in Order
		if err := server.Bind(ctx, &in); err != nil {
			return err
		}
		if in.Copies < 1 || in.Copies > s.most {
			return server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("copies must be within 1 and %d", s.most))
		}
		task, err := printOrder.Enqueue(ctx, services.Tasks, in)
		if err != nil {
			return err
		}
		return server.WriteJSON(ctx, fasthttp.StatusAccepted, task)
	}}}, nil
}
