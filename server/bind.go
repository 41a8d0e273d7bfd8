package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/typed"
)

// Bind reads the body of a request into the struct that v points to. It accepts JSON
// (application/json, a type that ends in +json, or no type), a urlencoded form, and
// the text fields of a multipart form. Fields have the names that encoding/json gives
// them. A field is required unless it is a pointer, has omitempty or omitzero in its
// json tag, or has a tag such as default:"5".
//
// In a form, a slice field may be repeated. For a bool field, true, on and 1 mean true,
// and false, off and 0 mean false. Strings and numbers are written as they are; a value
// of any other type is written as JSON. Bind refuses files in a form, since uploads have
// their own routes.
//
// The values must satisfy the rules in the validate tags of v's fields, such as
// validate:"min=1,max=100", see package github.com/go-playground/validator/v10. The rules
// of the structs in a slice or a map apply only if the field has the rule dive. A value
// that the request does not give is checked too, unless the rules begin with omitempty. If
// a tag cannot be used, or its field is not in the JSON, Bind returns an error that names
// it, which is a 500 response, for every request.
//
// The error is a 400 whose reason lists every field that is unknown, missing,
// repeated, of the wrong type or against a rule, each with its path (items[2].copies must
// be at most 100). It is a 413 for a body over the route's limit, and a 415 for any other
// content type. If Bind returns an error, v is unchanged.
func Bind(ctx *fasthttp.RequestCtx, v any) error {
	target, err := newTarget(v)
	if err != nil {
		return err
	}
	given := string(ctx.Request.Header.ContentType())
	kind, params, err := mime.ParseMediaType(given)
	switch {
	case given != "" && err != nil:
		return Fail(http.StatusBadRequest, fmt.Sprintf("Content-Type: %q cannot be read", given))
	case given == "" || kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return target.bindJSON(ctx)
	case kind == "application/x-www-form-urlencoded":
		body, err := ReadAll(ctx)
		if err != nil {
			return err
		}
		var args fasthttp.Args
		args.ParseBytes(body)
		return target.bindArgs(&args, "form field")
	case kind == "multipart/form-data":
		return target.bindMultipart(ctx, params["boundary"])
	}
	return Fail(http.StatusUnsupportedMediaType, "send application/json, application/x-www-form-urlencoded or multipart/form-data")
}

// Query reads the query parameters into the struct that v points to. Fields, values and
// errors are those of a urlencoded form in Bind.
func Query(ctx *fasthttp.RequestCtx, v any) error {
	target, err := newTarget(v)
	if err != nil {
		return err
	}
	return target.bindArgs(ctx.QueryArgs(), "parameter")
}

// target is the struct that Bind and Query fill.
type target struct {
	value  reflect.Value
	fields typed.Fields
	rules  *typed.Rules // nil: none
}

func newTarget(v any) (*target, error) {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() || !typed.IsObject(p.Type().Elem()) {
		return nil, fmt.Errorf("bind request: %T is not a pointer to a struct", v)
	}
	fields, err := typed.FieldsOf(p.Type().Elem())
	if err != nil {
		return nil, fmt.Errorf("bind request: %w", err)
	}
	rules, err := typed.RulesOf(p.Type().Elem())
	if err != nil {
		return nil, fmt.Errorf("bind request: %w", err)
	}
	return &target{p.Elem(), fields, rules}, nil
}

func (t *target) bindJSON(ctx *fasthttp.RequestCtx) error {
	body, err := ReadJSON(ctx)
	if err != nil {
		return err
	}
	if trimmed := bytes.TrimSpace(body); !json.Valid(trimmed) || len(trimmed) == 0 || trimmed[0] != '{' {
		return Fail(http.StatusBadRequest, "body: must be a JSON object")
	}
	members, err := typed.MembersOf(body)
	if err != nil {
		return Fail(http.StatusBadRequest, "body: must be a JSON object")
	}
	return t.assign(members, nil)
}

func (t *target) bindArgs(args *fasthttp.Args, what string) error {
	if err := checkArgs(args, what); err != nil {
		return Fail(http.StatusBadRequest, err.Error())
	}
	form := newForm(t.fields)
	for name, value := range args.All() {
		form.add(string(name), string(value))
	}
	return t.assign(form.members(), form.faults)
}

func (t *target) bindMultipart(ctx *fasthttp.RequestCtx, boundary string) error {
	if boundary == "" {
		return Fail(http.StatusBadRequest, "Content-Type: a multipart form needs a boundary")
	}
	form := newForm(t.fields)
	for parts := multipart.NewReader(Body(ctx), boundary); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return t.assign(form.members(), form.faults)
		}
		if err != nil {
			return multipartError(err)
		}
		text, err := io.ReadAll(part)
		switch {
		case err != nil:
			return multipartError(err)
		case part.FileName() != "":
			form.faults = append(form.faults, typed.Problem{Path: part.FormName(), Text: "is a file; send files to /upload"})
		case !utf8.Valid(text) || !utf8.ValidString(part.FormName()):
			form.faults = append(form.faults, typed.Problem{Path: strconv.Quote(part.FormName()), Text: "is not valid UTF-8"})
		default:
			form.add(part.FormName(), string(text))
		}
	}
}

// multipartError returns the error for a multipart body that is malformed or
// incomplete.
func multipartError(err error) error {
	for _, known := range []error{ErrBodyTooLarge, ErrBodyTruncated, ErrBodyMalformed, ErrBodyTimeout, ErrClientGone} {
		if errors.Is(err, known) {
			return err
		}
	}
	return &Error{Status: http.StatusBadRequest, Reason: "body: malformed multipart form", Err: err}
}

// assign checks the members of an object and stores them. Missing members get their
// defaults.
func (t *target) assign(members typed.Members, faults []typed.Problem) error {
	faults = append(faults, typed.CheckMembers("", t.fields, members, false)...)
	for _, f := range t.fields {
		if f.Default != nil && !members.Has(f.Name) {
			members = append(members, typed.Member{Name: f.Name, Value: f.Default})
		}
	}
	if len(faults) > 0 {
		return t.refuse(members, faults)
	}
	fresh := reflect.New(t.value.Type())
	if err := json.Unmarshal(members.JSON(), fresh.Interface()); err != nil {
		return &Error{Status: http.StatusBadRequest, Reason: "body: " + typed.DecodeError(err).Error(), Err: err}
	}
	if t.rules != nil {
		faults, err := t.rules.Check(fresh.Interface())
		if err != nil {
			return fmt.Errorf("bind request: %w", err)
		}
		if len(faults) > 0 {
			return failBind(faults)
		}
	}
	t.value.Set(fresh.Elem())
	return nil
}

// refuse returns the error for faults that were found before the values were decoded. It
// adds the rules that the other values break.
func (t *target) refuse(members typed.Members, faults []typed.Problem) error {
	if t.rules != nil {
		more, err := t.rules.CheckOthers(members, faults)
		if err != nil {
			return fmt.Errorf("bind request: %w", err)
		}
		faults = append(faults, more...)
	}
	return failBind(faults)
}

func failBind(faults []typed.Problem) error {
	return Fail(http.StatusBadRequest, typed.JoinProblems(typed.Texts(faults)))
}

// form collects the fields of a form as JSON.
type form struct {
	fields typed.Fields
	values map[string][]json.RawMessage
	names  []string        // field names, in the order of arrival
	faults []typed.Problem // problems found while the form was read
}

func newForm(fields typed.Fields) *form {
	return &form{fields: fields, values: map[string][]json.RawMessage{}}
}

func (f *form) add(name, text string) {
	t := reflect.TypeFor[string]()
	if at := f.fields.Index(name); at >= 0 {
		t = f.fields[at].Type
	}
	if f.repeats(name) {
		t = t.Elem()
	}
	if _, known := f.values[name]; !known {
		f.names = append(f.names, name)
	}
	f.values[name] = append(f.values[name], formValue(t, text))
}

// repeats reports whether a field may be repeated.
func (f *form) repeats(name string) bool {
	at := f.fields.Index(name)
	return at >= 0 && f.fields[at].Type.Kind() == reflect.Slice && f.fields[at].Type.Elem().Kind() != reflect.Uint8
}

func (f *form) members() (all typed.Members) {
	for _, name := range f.names {
		values := f.values[name]
		if f.repeats(name) {
			list, _ := json.Marshal(values) // each of them is valid
			all = append(all, typed.Member{Name: name, Value: list})
			continue
		}
		for _, value := range values {
			all = append(all, typed.Member{Name: name, Value: value})
		}
	}
	return all
}

// formValue converts the text of a form field to JSON for type t. A text that is not
// valid JSON for t becomes a string, and the type check reports it.
func formValue(t reflect.Type, text string) json.RawMessage {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	quoted, _ := json.Marshal(text) // a string can always be encoded
	switch kind := t.Kind(); {
	case kind == reflect.String:
		return quoted
	case kind == reflect.Bool:
		switch strings.ToLower(text) {
		case "true", "on", "1":
			return json.RawMessage("true")
		case "false", "off", "0":
			return json.RawMessage("false")
		}
		return quoted
	case kind >= reflect.Int && kind <= reflect.Float64:
		if _, err := strconv.ParseFloat(text, 64); err != nil || !json.Valid([]byte(text)) {
			return quoted
		}
		return json.RawMessage(text)
	case typed.HasUnmarshaler(t) && !isJSONString(text):
		return quoted // types such as time.Time read a string
	case json.Valid([]byte(text)):
		return json.RawMessage(text)
	}
	return quoted
}

func isJSONString(text string) bool {
	return strings.HasPrefix(strings.TrimSpace(text), "\"") && json.Valid([]byte(text))
}
