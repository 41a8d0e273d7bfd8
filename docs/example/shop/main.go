// Command shop shows the parts that an application can have: a route that reads JSON,
// typed tasks, a task for uploaded pictures, a schedule, and a flag of the application.
//
//	go run ./docs/example/shop -port 8000 -max-copies 5
//	curl -d '{"customer":"Ann","copies":2}' -H 'Content-Type: application/json' http://127.0.0.1:8000/orders
//	curl -F 'pictures=@cover.png' http://127.0.0.1:8000/upload
//
// Open http://127.0.0.1:8000/console to see the tasks run.
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

// Order is the body of POST /orders and the input of the task print_order. A field
// without a default is required. The validate tags are rules for the values. A request that
// breaks one gets a 400 response.
type Order struct {
	Customer string `json:"customer" validate:"min=1,max=100"`
	Copies   int    `json:"copies" default:"1" validate:"min=1"`
}

// printOrder is a typed task: its input is an Order and its result a string. A worker
// runs it. If the worker is killed, another one runs the task again, so it must be safe to
// run a task twice. The function must also return soon after ctx ends, for example because
// the task was cancelled or its timeout was reached.
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

// Picture is the input of measure_picture. A task for uploaded files gets the directory
// and the filename, in this order.
type Picture struct {
	Directory string `json:"directory"`
	Filename  string `json:"filename"`
}

// Size is the size of a picture in pixels.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// measurePicture reads an uploaded picture. app.From returns the services in a task.
// NoRetry marks errors that another attempt cannot fix: the task fails at once.
var measurePicture = jobs.Define("measure_picture", func(ctx context.Context, _ *jobs.Job, in Picture) (Size, error) {
	file, err := app.From(ctx).Uploads.Open(in.Directory, in.Filename)
	if err != nil {
		return Size{}, jobs.NoRetry(err)
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	config, _, err := image.DecodeConfig(file)
	if err != nil {
		return Size{}, jobs.NoRetry(err)
	}
	return Size{config.Width, config.Height}, nil
})

// closeDay is started by a schedule. Its input type, struct{}, means that it has no input.
var closeDay = jobs.Define("close_day", func(context.Context, *jobs.Job, struct{}) (string, error) {
	return "closed " + time.Now().UTC().Format(time.DateOnly), nil
})

// shop holds the values of the flags.
type shop struct{ maxCopies int }

func main() { app.Main(application()) }

// application returns the shop. The tests start it as well.
func application() app.Application {
	s := &shop{}
	return app.Application{
		Name:        "shop",
		Flags:       s.flags,
		Check:       s.check,
		Tasks:       []jobs.Definition{printOrder.Definition(), measurePicture.Definition(), closeDay.Definition()},
		UploadTasks: []app.UploadTask{{Name: "measure_picture", Accepts: isPicture}},
		Schedules:   []app.Schedule{{Task: "close_day", At: "CRON_TZ=Europe/Berlin 0 20 * * *"}}, // each day at 20:00
		Routes:      s.routes,
	}
}

// flags declares the flags of the application. Each of them can also be set in the
// environment; for this one the variable is SHOP_MAX_COPIES.
func (s *shop) flags(f *flag.FlagSet) {
	f.IntVar(&s.maxCopies, "max-copies", 10, "highest `number` of copies in an order")
}

// check returns an error for each flag with an invalid value. Gale reports them together
// with the errors of its own flags, and does not start.
func (s *shop) check() []error {
	if s.maxCopies < 1 {
		return []error{fmt.Errorf("-max-copies: %d is less than 1", s.maxCopies)}
	}
	return nil
}

// isPicture reports whether measure_picture can be started for an uploaded file.
func isPicture(filename string) bool {
	return slices.Contains([]string{".png", ".jpg", ".jpeg"}, strings.ToLower(path.Ext(filename)))
}

// routes returns the route POST /orders. Bind reads the body into an Order, and its
// error names each wrong field. Enqueue stores the task and returns at once; the
// response contains its id, and GET /tasks/{id} returns its state.
func (s *shop) routes(services *app.Services) ([]server.Route, error) {
	return []server.Route{{Method: "POST", Path: "/orders", Handler: func(ctx *fasthttp.RequestCtx) error {
		var in Order
		if err := server.Bind(ctx, &in); err != nil {
			return err
		}
		if in.Copies > s.maxCopies { // a tag cannot contain the value of a flag
			return server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("copies must be at most %d", s.maxCopies))
		}
		task, err := printOrder.Enqueue(ctx, services.Tasks, in)
		if err != nil {
			return err
		}
		return server.WriteJSON(ctx, fasthttp.StatusAccepted, task)
	}}}, nil
}
