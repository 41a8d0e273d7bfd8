package typed

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type base struct {
	Owner string `json:"owner" validate:"required"`
}

type part struct {
	Copies int               `json:"copies" validate:"max=100"`
	Notes  map[string]string `json:"notes,omitempty" validate:"dive,keys,alpha,endkeys,max=3"`
}

type sample struct {
	base
	Name   string          `json:"name" validate:"min=2,max=5"`
	Mail   string          `json:"mail,omitempty" validate:"omitempty,email"`
	State  string          `json:"state" default:"new" validate:"oneof=new 'in work' done"`
	Level  *int            `json:"level" validate:"omitempty,gte=1,lt=10"`
	Parts  []part          `json:"parts,omitempty" validate:"max=3,dive"`
	Prices map[string]part `json:"prices,omitempty" validate:"dive"`
	Day    string          `json:"day,omitempty" validate:"omitempty,datetime=2006-01-02"`
	Due    *time.Time      `json:"due" validate:"omitempty,gt"`
	Tags   []string        `json:"tags,omitempty" validate:"unique,dive,startswith=x"`
	Color  string          `json:"color,omitempty" validate:"omitempty,rgb|eq=none"`
	Pin    string          `json:"pin,omitempty" validate:"omitempty,luhn_checksum"`
	Again  string          `json:"again,omitempty" validate:"omitempty,eqfield=Name"`
	Count  uint8           `json:"count,omitempty" validate:"ne=7"`
	Secret string          `json:"-" validate:"-"`
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	v := new(sample)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRules(t *testing.T) {
	r, err := RulesOf(reflect.TypeFor[sample]())
	if err != nil || r == nil {
		t.Fatalf("%v", err)
	}
	const good = `"owner":"a","name":"abc","state":"new"`
	for _, c := range []struct {
		text string
		want []string
	}{
		{`{` + good + `}`, nil},
		{`{` + good + `,"level":1,"parts":[{"copies":100}],"tags":["x","x1"],"mail":"a@b.example","again":"abc","color":"none"}`, nil},
		{`{}`, []string{"owner must not be empty", "name must have at least 2 characters", "state must be one of: new, in work, done"}},
		{`{"owner":"a","name":"äöüäöü","state":"in work"}`, []string{"name must have at most 5 characters"}},
		{`{` + good + `,"level":0}`, []string{"level must be at least 1"}},
		{`{` + good + `,"level":10}`, []string{"level must be less than 10"}},
		{`{` + good + `,"parts":[{},{"copies":101,"notes":{"a1":"four"}}]}`, []string{
			"parts[1].copies must be at most 100", "parts[1].notes.a1 must consist of letters (a to z)", "parts[1].notes.a1 must have at most 3 characters",
		}},
		{`{` + good + `,"parts":[{},{},{},{}]}`, []string{"parts must have at most 3 items"}},
		{`{` + good + `,"prices":{"a.b":{"copies":500}}}`, []string{"prices.a.b.copies must be at most 100"}},
		{`{` + good + `,"mail":"a","day":"1.1.2026","due":"2020-01-01T00:00:00Z","count":7}`, []string{
			"mail must be an email address", "day must be a date or time of the form 2006-01-02", "due must be after now", "count must not be 7",
		}},
		{`{` + good + `,"tags":["x","x"]}`, []string{"tags must not have two equal items"}},
		{`{` + good + `,"tags":["y"]}`, []string{`tags[0] must begin with "x"`}},
		{`{` + good + `,"color":"blue","pin":"1","again":"b"}`, []string{"color must satisfy rgb|eq=none", "pin must satisfy luhn_checksum", "again must satisfy eqfield=Name"}},
	} {
		got, err := r.Check(decoded(t, c.text))
		if texts := Texts(got); err != nil || !slices.Equal(texts, c.want) && len(texts)+len(c.want) > 0 {
			t.Errorf("%s: %q, %v, want %q", c.text, texts, err, c.want)
		}
	}
}

// If some values have a wrong type, the rules of the others are checked all the same.
func TestRulesBesideProblems(t *testing.T) {
	root := reflect.TypeFor[sample]()
	r, err := RulesOf(root)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"owner":1,"name":"a","state":"new"}`:                                                           "name must have at least 2 characters",
		`{"name":"a","state":"new"}`:                                                                     "name must have at least 2 characters",
		`{"owner":"a","name":5,"state":"old"}`:                                                           "state must be one of: new, in work, done",
		`{"owner":"a","name":"abc","parts":[{"copies":"x"},{"copies":101}]}`:                             "parts[1].copies must be at most 100",
		`{"owner":"a","name":"abc","parts":[{"copies":"x"},{"copies":1},{"copies":1},{"copies":1}]}`:     "parts must have at most 3 items",
		`{"owner":"a","name":"abc","tags":[1,2]}`:                                                        "",
		`{"owner":"a","name":5,"again":"abc"}`:                                                           "",
		`{"owner":"a","name":"abc","due":"never","level":0}`:                                             "level must be at least 1",
		`{"owner":"a","name":"abc","count":7,"count":7,"level":0}`:                                       "level must be at least 1",
		`{"owner":"a","name":"abc","unknown":7,"mail":"x"}`:                                              "mail must be an email address",
		`{"owner":"a","name":"abc","prices":{"a":{"copies":"x"},"b":{"copies":200}},"level":null,"x":1}`: "prices.b.copies must be at most 100",
	} {
		members, err := MembersOf([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		fields, _ := FieldsOf(root)
		problems := CheckMembers("", fields, members, false)
		if len(problems) == 0 {
			t.Fatalf("%s has no problem", text)
		}
		if !members.Has("state") {
			members = append(members, Member{Name: "state", Value: json.RawMessage(`"new"`)})
		}
		got, err := r.CheckOthers(members, problems)
		if joined := JoinProblems(Texts(got)); err != nil || joined != want {
			t.Errorf("%s: %q, %v, want %q beside %q", text, joined, err, want, Texts(problems))
		}
	}
}

// A tag that cannot be used is found before any value is checked.
func TestBrokenRules(t *testing.T) {
	for want, typ := range map[string]reflect.Type{
		`field A of struct { A int "validate:\"min=abc\"" }: tag validate:"min=abc": min=abc:`: reflect.TypeFor[struct {
			A int `validate:"min=abc"`
		}](),
		`max=x: strconv.ParseInt`: reflect.TypeFor[struct {
			A string `validate:"min=1,max=x"`
		}](),
		`Undefined validation function 'atleast'`: reflect.TypeFor[struct {
			A []struct {
				B int `validate:"atleast=1"`
			}
		}](),
		`dive needs a slice, an array or a map, not int`: reflect.TypeFor[struct {
			A []int `validate:"dive,dive"`
		}](),
		`tag default:"0" is against its tag validate:"min=1"`: reflect.TypeFor[struct {
			A int `default:"0" validate:"min=1"`
		}](),
		`it has rules, but is not in the JSON; add validate:"-"`: reflect.TypeFor[struct {
			A int `json:"-" validate:"required"`
		}](),
		`Bad field type bool`: reflect.TypeFor[struct {
			A map[string]bool `validate:"dive,min=1"`
		}](),
		`keys' tag must be immediately preceded by the 'dive' tag`: reflect.TypeFor[struct {
			A map[string]bool `validate:"keys,min=1,endkeys"`
		}](),
		`min=x: strconv`: reflect.TypeFor[struct {
			A map[string]bool `validate:"dive,keys,min=x,endkeys"`
		}](),
	} {
		for range 2 { // the second time from the cache
			if _, err := RulesOf(typ); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, want %q", typ, err, want)
			}
		}
	}
	// The library finds some faults only with a certain value.
	type loose struct {
		A any `validate:"omitempty,min=1"`
	}
	r, err := RulesOf(reflect.TypeFor[loose]())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Check(&loose{A: true}); err == nil || !strings.Contains(err.Error(), "validate tags of typed.loose: Bad field type bool") {
		t.Errorf("%v", err)
	}
	if got, err := r.Check(&loose{A: 0.5}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// A type without tags has no rules, and a recursive type ends.
func TestNoRules(t *testing.T) {
	type node struct {
		Name     string
		Due      time.Time
		Children []*node
		Others   map[string]*node
	}
	if r, err := RulesOf(reflect.TypeFor[node]()); r != nil || err != nil {
		t.Errorf("%v, %v", r, err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = RulesOf(reflect.TypeFor[node]()) }); n != 0 {
		t.Errorf("%v allocations to learn that there are no rules", n)
	}
	type leaf struct {
		Size int     `json:"size" validate:"max=3"`
		Next []*leaf `json:"next" validate:"dive"`
	}
	r, err := RulesOf(reflect.TypeFor[leaf]())
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Check(&leaf{Next: []*leaf{{Size: 1, Next: []*leaf{{Size: 4}}}}})
	if want := []string{"next[0].next[0].size must be at most 3"}; err != nil || !slices.Equal(Texts(got), want) {
		t.Errorf("%q, %v", Texts(got), err)
	}
}
