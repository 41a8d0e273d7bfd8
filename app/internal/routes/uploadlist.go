package routes

import (
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
)

// listDefault is the default of the parameter limit.
const listDefault = 100

// listing is the body of the response to GET /upload/{directory}/.
type listing struct {
	Directory string  `json:"directory"`
	Entries   []entry `json:"entries"`
	// Next is the parameter after for the next page.
	Next string `json:"next,omitempty"`
}

type entry struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"` // file, directory
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified,omitzero"` // not known for directories in object storage
}

// list responds with the entries of a directory, sorted by the bytes of their names.
func (u *uploadRoutes) list(ctx *fasthttp.RequestCtx, directory string) error {
	args := ctx.QueryArgs()
	limit := listDefault
	if text, given := server.QueryText(ctx, "limit"); given {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > uploads.MaxList {
			return server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("limit: %q is not between 1 and %d", text, uploads.MaxList))
		}
	}
	found, next, err := u.store.List(ctx, directory, string(args.Peek("after")), limit)
	if err != nil {
		return absent(err, "no such directory")
	}
	page := listing{Directory: directory, Entries: []entry{}, Next: next}
	for _, e := range found {
		kind := "file"
		if e.Folder {
			kind = "directory"
		}
		page.Entries = append(page.Entries, entry{e.Name, kind, e.Size, e.Modified.UTC()})
	}
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	return server.WriteJSON(ctx, fasthttp.StatusOK, page)
}
