package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/uploadhook"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
)

// decider decides about uploads: it calls Application.BeforeUpload, and then the hook of
// -upload-hook, which gets the name that BeforeUpload has chosen.
type decider struct {
	app      *Application
	services *Services        // set before the first upload
	hook     *uploadhook.Hook // nil without -upload-hook
	refused  func(by string)  // counts refused files
	log      *slog.Logger
}

// Labels of gale_upload_refused_total.
const (
	byApplication = "application"
	byHook        = "hook"
	byFault       = "fault" // of the hook
	byQuota       = "quota"
)

// newDecider returns a decider, or nil if every file is admitted. p runs the hook.
func newDecider(a *Application, c config.Config, p *pool.Pool, refused func(string), log *slog.Logger) *decider {
	if a.BeforeUpload == nil && c.UploadHook == "" {
		return nil
	}
	d := &decider{app: a, refused: refused, log: log}
	if c.UploadHook != "" {
		d.hook = uploadhook.New(c.UploadHook, uploadhook.Options{Path: c.Path, Pool: p, Logger: log})
	}
	return d
}

// use sets the services that BeforeUpload gets.
func (d *decider) use(s *Services) {
	if d != nil {
		d.services = s
	}
}

// decide is uploads.Options.Decide.
func (d *decider) decide(ctx context.Context, p uploads.Proposal) (result uploads.Decision, err error) {
	if d.app.BeforeUpload != nil {
		err := pool.Protect(func() (err error) {
			result, err = d.app.BeforeUpload(ctx, d.services, p)
			return err
		})
		if err != nil {
			d.refused(byApplication)
			return result, asRefusal(err)
		}
	}
	if d.hook == nil {
		return result, nil
	}
	p.Directory, p.Filename = renamed(p, result)
	asked, err := d.hook.Decide(ctx, p)
	switch {
	case errors.Is(err, uploads.ErrUndecided):
		d.refused(byFault)
		return result, err
	case err != nil:
		d.refused(byHook)
		return result, err
	}
	result.Directory, result.Filename = renamed(p, asked)
	if asked.MaxSize > 0 && (result.MaxSize == 0 || asked.MaxSize < result.MaxSize) {
		result.MaxSize = asked.MaxSize
	}
	return result, nil
}

// renamed returns the name of a proposal after a decision.
func renamed(p uploads.Proposal, d uploads.Decision) (directory, filename string) {
	directory, filename = p.Directory, p.Filename
	if d.Directory != "" {
		directory = d.Directory
	}
	if d.Filename != "" {
		filename = d.Filename
	}
	return directory, filename
}

// asRefusal converts a *server.Error of BeforeUpload to the error of package uploads for its
// status. Other errors are not changed.
func asRefusal(err error) error {
	own, ok := errors.AsType[*server.Error](err)
	switch {
	case !ok:
		return err
	case own.Status == http.StatusServiceUnavailable:
		return errors.Join(uploads.ErrUndecided, err)
	case own.Status >= 400 && own.Status < 500:
		reason := own.Reason
		if reason == "" {
			reason = fasthttp.StatusMessage(own.Status)
		}
		return &uploads.RefusalError{Status: own.Status, Reason: reason}
	}
	return err
}

// uploadAdmit returns the Admit function of the routes for uploads, or nil for the default:
// only what the decisions need the sender for changes it.
func uploadAdmit(a *Application, c config.Config, g *access.Guard) func(*fasthttp.RequestHeader) (any, error) {
	if a.BeforeUpload == nil && c.UploadHook == "" && c.QuotaSubject == 0 {
		return nil
	}
	return g.Upload(a.BeforeUpload != nil)
}
