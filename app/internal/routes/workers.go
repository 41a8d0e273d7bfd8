package routes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/typed"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/workerapi"
	"github.com/galeserver/gale/server"
)

// workerRoutes are the routes of the worker protocol.
type workerRoutes struct{ service *workerapi.Service }

// WorkerRoutes returns the routes of the worker protocol for a server whose requests admit
// admits; nil admits all.
func WorkerRoutes(s *workerapi.Service, admit func(*fasthttp.RequestHeader) (any, error)) []server.Route {
	w := &workerRoutes{s}
	post := func(path string, handler server.Handler) server.Route {
		return server.Route{Method: fasthttp.MethodPost, Path: "/workers/" + path, Admit: admit, Handler: handler, MaxBody: workerapi.MaxBody, Untraced: true}
	}
	return []server.Route{
		post("announce", w.announce),
		post("lease", w.lease),
		post("extend", w.extend),
		post("finish", list(w, (*workerapi.Service).Finish)),
		post("release", list(w, (*workerapi.Service).Release)),
		post("progress", list(w, (*workerapi.Service).Progress)),
		post("log", list(w, (*workerapi.Service).Log)),
		{Method: fasthttp.MethodPut, Path: "/workers/artifacts/{lease}/{name}", Admit: admit, Handler: w.artifact, MaxBody: -1}, // the service has a limit
	}
}

// announce is POST /workers/announce.
func (w *workerRoutes) announce(ctx *fasthttp.RequestCtx) error {
	var in workerapi.AnnounceRequest
	if err := readValue(ctx, &in); err != nil {
		return err
	}
	out, err := w.service.Announce(server.Context(ctx), in)
	return respondWorker(ctx, out, err)
}

// lease is POST /workers/lease.
func (w *workerRoutes) lease(ctx *fasthttp.RequestCtx) error {
	var in workerapi.LeaseRequest
	if err := readValue(ctx, &in); err != nil {
		return err
	}
	server.LongPoll(ctx)
	out, err := w.service.Lease(server.Context(ctx), in)
	return respondWorker(ctx, out, err)
}

// extend is POST /workers/extend.
func (w *workerRoutes) extend(ctx *fasthttp.RequestCtx) error {
	var in workerapi.ExtendRequest
	if err := readValue(ctx, &in); err != nil {
		return err
	}
	server.LongPoll(ctx)
	out, err := w.service.Extend(server.Context(ctx), in)
	return respondWorker(ctx, out, err)
}

// list returns the handler of a list of entries. The changes do not end with the client:
// it repeats a call whose response it did not get.
func list[E any](w *workerRoutes, call func(*workerapi.Service, context.Context, []E) []workerapi.Result) server.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		var in []E
		if err := readValue(ctx, &in); err != nil {
			return err
		}
		if err := workerapi.CheckEntries(len(in)); err != nil {
			return respondWorker(ctx, nil, err)
		}
		return server.WriteJSON(ctx, fasthttp.StatusOK, call(w.service, ctx, in))
	}
}

// artifact is PUT /workers/artifacts/{lease}/{name}.
func (w *workerRoutes) artifact(ctx *fasthttp.RequestCtx) error {
	err := w.service.StoreArtifact(server.Context(ctx), server.Param(ctx, "lease"), server.Param(ctx, "name"), int64(ctx.Request.Header.ContentLength()), server.Body(ctx))
	return respondWorker(ctx, struct{}{}, err)
}

// respondWorker writes the response to a call, or its error.
func respondWorker(ctx *fasthttp.RequestCtx, out any, err error) error {
	refused, ok := errors.AsType[workerapi.Error](err)
	switch {
	case err == nil:
		return server.WriteJSON(ctx, fasthttp.StatusOK, out)
	case ok && refused.Code == fasthttp.StatusServiceUnavailable:
		return jobs.ErrUnavailable // with Retry-After
	case ok:
		return server.Fail(refused.Code, refused.Reason)
	}
	return err
}

// readValue decodes a JSON body. Unknown members are errors.
func readValue(ctx *fasthttp.RequestCtx, into any) error {
	body, err := server.ReadJSON(ctx)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err = dec.Decode(into); err == nil && !errors.Is(dec.Decode(&struct{}{}), io.EOF) {
		err = errors.New("more than one JSON value")
	}
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[workerapi.Error](err); ok {
		return server.Fail(refused.Code, refused.Reason)
	}
	reason := err.Error()
	if unknown, ok := strings.CutPrefix(reason, "json: unknown field "); ok {
		reason = "unknown member " + unknown
	} else {
		reason = typed.DecodeError(err).Error()
	}
	return server.Fail(fasthttp.StatusBadRequest, "body: "+reason)
}

// DecodeTask decodes a task in the form of POST /tasks, for workerapi.Options.
func DecodeTask(raw json.RawMessage) (jobs.NewTask, error) {
	w, err := decodeWork(raw)
	if err == nil && w.Name == "" {
		err = errors.New("a chain or group cannot be in next")
	}
	return w.NewTask, err
}
