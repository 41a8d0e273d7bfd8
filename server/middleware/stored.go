package middleware

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// pass is stored in place of a response that must not be stored.
const pass = ""

// head is the first line of a stored response, as JSON. The body follows.
type head struct {
	Status int           `json:"status"`
	Stored time.Time     `json:"stored"`
	Fields []storedField `json:"fields"`
}

// storedField is a header field. The value may be invalid UTF-8, so it is not a string.
type storedField struct {
	Name   string   `json:"name"`
	Values [][]byte `json:"values"`
}

// ownFields are the fields that the server sets in each response, and those of the
// connection.
var ownFields = []string{
	fasthttp.HeaderConnection, fasthttp.HeaderContentLength, fasthttp.HeaderDate, fasthttp.HeaderServer,
	fasthttp.HeaderTrailer, fasthttp.HeaderTransferEncoding,
}

// fieldsOf returns copies of the fields of a response, by name.
func fieldsOf(h *fasthttp.ResponseHeader) map[string][][]byte {
	all := map[string][][]byte{}
	for name, value := range h.All() {
		if !slices.Contains(ownFields, string(name)) {
			all[string(name)] = append(all[string(name)], bytes.Clone(value))
		}
	}
	return all
}

// storeFor returns how long the response of ctx may be stored, or 0 if it must not be
// stored.
func (r *responses) storeFor(ctx *fasthttp.RequestCtx) time.Duration {
	p := &ctx.Response
	switch {
	case ctx.Hijacked(), p.IsBodyStream(), p.SkipBody, p.ImmediateHeaderFlush, ctx.LastTimeoutErrorResponse() != nil:
		return 0
	case !slices.Contains(r.o.Statuses, p.StatusCode()), len(p.Body()) > r.o.MaxSize:
		return 0
	case ctx.IsHead() && len(p.Body()) == 0: // the length may be that of a body which was not made
		return 0
	}
	fields := fieldsOf(&p.Header)
	if len(fields[fasthttp.HeaderSetCookie]) > 0 {
		return 0
	}
	for name := range elements(fields[fasthttp.HeaderVary]) {
		if !slices.ContainsFunc(r.o.Vary, func(known string) bool { return strings.EqualFold(known, name) }) {
			return 0
		}
	}
	return min(r.ttl, freshness(fields, r.ttl))
}

// freshness returns how long a shared cache may use a response with these fields (RFC
// 9111 §4.2.1), or ttl if they do not say. A time that cannot be read counts as 0.
func freshness(fields map[string][][]byte, ttl time.Duration) time.Duration {
	control := elements(fields[fasthttp.HeaderCacheControl])
	for _, name := range []string{"no-store", "no-cache", "private"} {
		if _, ok := control[name]; ok {
			return 0
		}
	}
	for _, name := range []string{"s-maxage", "max-age"} {
		if text, ok := control[name]; ok {
			seconds, err := strconv.ParseUint(strings.Trim(text, `"`), 10, 31)
			if err != nil {
				return 0
			}
			return time.Duration(seconds) * time.Second
		}
	}
	if expires := fields[fasthttp.HeaderExpires]; len(expires) > 0 {
		at, err := http.ParseTime(string(expires[0]))
		if err != nil {
			return 0
		}
		return time.Until(at)
	}
	return ttl
}

// elements returns the elements of a list field, in lower case. An element name=value has
// that value.
func elements(lines [][]byte) map[string]string {
	all := map[string]string{}
	for _, line := range lines {
		for element := range strings.SplitSeq(strings.ToLower(string(line)), ",") {
			name, value, _ := strings.Cut(element, "=")
			if name = strings.TrimSpace(name); name != "" {
				all[name] = strings.TrimSpace(value)
			}
		}
	}
	return all
}

// stored returns the response of ctx as text: its status, its body, and the fields that
// differ from before.
func stored(ctx *fasthttp.RequestCtx, before map[string][][]byte) string {
	h := head{Status: ctx.Response.StatusCode(), Stored: time.Now()}
	fields := fieldsOf(&ctx.Response.Header)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.EqualFunc(fields[name], before[name], bytes.Equal) {
			h.Fields = append(h.Fields, storedField{Name: name, Values: fields[name]})
		}
	}
	line, err := json.Marshal(h)
	if err != nil {
		return pass // cannot happen: all of it can be encoded
	}
	return string(line) + "\n" + string(ctx.Response.Body())
}

// writeStored responds with a stored response. It returns false if text is pass, or has
// been stored by another version.
func writeStored(ctx *fasthttp.RequestCtx, text string) bool {
	line, body, ok := strings.Cut(text, "\n")
	var h head
	if !ok || json.Unmarshal([]byte(line), &h) != nil || h.Status == 0 {
		return false
	}
	fields := &ctx.Response.Header
	for _, field := range h.Fields {
		fields.Del(field.Name)
		for _, value := range field.Values {
			fields.AddBytesV(field.Name, value)
		}
	}
	age := max(time.Since(h.Stored), 0) // clocks of machines differ
	fields.Set(fasthttp.HeaderAge, strconv.Itoa(int(age/time.Second)))
	ctx.SetStatusCode(h.Status)
	ctx.SetBodyString(body)
	return true
}
