package routes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
)

// Each fault of a body begins with its key and path, and none contains a Go type.
func TestRefusedBodies(t *testing.T) {
	many := `{"task":"t"` + strings.Repeat(`,"x":1`, 30) + `}`
	for body, want := range map[string][]string{
		``:                                         {"body: is empty"},
		`{`:                                        {"body: is not JSON"},
		`7`:                                        {"body: must be an object, not a number"},
		`{"task":"t"} {}`:                          {"body: has data after the JSON object"},
		`{}`:                                       {`body: "task" is missing`},
		`{"task":null}`:                            {`body: "task" is missing`},
		`{"task":""}`:                              {"task: is empty"},
		`{"task":7}`:                               {"task: must be a string, not a number"},
		`{"task":"t","chain":[]}`:                  {"give one of"},
		`{"task":"t","callback":{"task":"t"}}`:     {`"callback" belongs to a "group"`},
		`{"task":"t","immutable":false}`:           {"immutable: is only valid for tasks in a chain"},
		`{"task":"t","args":{"a":1}}`:              {"args: must be an array, not an object"},
		`{"task":"t","args":"a"}`:                  {"args: must be an array, not a string"},
		`{"task":"t","queue":""}`:                  {"queue: is empty"},
		`{"task":"t","queue":"a b"}`:               {`queue: "a b" must consist of letters`},
		`{"task":"t","id":"","unique":""}`:         {"id: is empty", "unique: is empty"},
		`{"task":"t","max_retries":-1}`:            {"max_retries: -1 is not an integer between 0 and 100"},
		`{"task":"t","max_retries":101}`:           {"max_retries: 101 is not"},
		`{"task":"t","max_retries":1.5}`:           {"max_retries: 1.5 is not"},
		`{"task":"t","max_retries":"3"}`:           {"max_retries: must be a number, not a string"},
		`{"task":"t","max_retries":true}`:          {"max_retries: must be a number, not a boolean"},
		`{"task":"t","timeout":-1}`:                {"timeout: -1 is negative"},
		`{"task":"t","timeout":"-1s"}`:             {`timeout: "-1s" is negative`},
		`{"task":"t","timeout":"soon"}`:            {`timeout: "soon" is not a duration`},
		`{"task":"t","timeout":""}`:                {"timeout: "},
		`{"task":"t","timeout":[1]}`:               {"timeout: must be a number of seconds or a duration", "not an array"},
		`{"task":"t","timeout":1e300}`:             {"timeout: 1e300 is too long"},
		`{"task":"t","timeout":1e999}`:             {"timeout: 1e999 is too long"},
		`{"task":"t","countdown":"30"}`:            {"countdown: ", "seconds as a number"},
		`{"task":"t","eta":30}`:                    {"eta: must be a time as in RFC 3339", "countdown"},
		`{"task":"t","eta":"2030-01-01T00:00:00"}`: {"eta: ", "with a time zone"},
		`{"task":"t","eta":{}}`:                    {"eta: must be a string"},
		`{"task":"t","eta":"2030-01-01T00:00:00Z","countdown":0}`:          {"countdown: give either eta or countdown"},
		`{"task":"t","expires":"never"}`:                                   {"expires: ", "is not a time"},
		`{"task":"t","expires":true}`:                                      {"expires: must be a number of seconds"},
		`{"task":"t","unique":"k","unique_for":0}`:                         {"unique_for: 0s is not between 1ms"},
		`{"task":"t","unique":"k","unique_for":1e9}`:                       {"unique_for: "},
		`{"task":"t","max_retries":0,"max_retries":5}`:                     {"max_retries: is given twice"},
		`{"task":"t","Max_Retries":0}`:                                     {"Max_Retries: unknown key; use max_retries"},
		`{"task":"t","maxRetries":0}`:                                      {"maxRetries: unknown key; use max_retries"},
		`{"task":"t","Task":"u"}`:                                          {"Task: unknown key; use task"},
		`{"task":"t","kwargs":[]}`:                                         {"kwargs: "},
		`{"task":"t","retries":1,"time_limit":1,"task_id":"x"}`:            {"retries: unknown key; use max_retries", "time_limit: unknown key; use timeout", "task_id: unknown key; use id"},
		`{"task":"t","soft_time_limit":1,"link":1,"priority":1}`:           {"soft_time_limit: unknown key", "link: must be an array, not a number", "priority: unknown key; use queue"},
		`{"task":"t","headers":[]}`:                                        {"headers: must be an object, not an array"},
		`{"task":"t","headers":{"a":"` + strings.Repeat("x", 8192) + `"}}`: {"headers: has 8200 bytes, more than the limit of 8192"},
		`{"task":"t","results":"list"}`:                                    {"results: is only valid for tasks in a chain"},
		`{"task":"t","link":[{"task":"t","results":"first"}]}`:             {`link[0].results: "first" must be append, prepend or list`},
		`{"task":"t","link":[{"task":"t","link":[{"args":{}}]}]}`:          {"link[0].link[0].task: is missing", "link[0].link[0].args: must be an array"},
		`{"task":"t","link_error":[7,{"task":"t","results":"list"}]}`:      {"link_error[0]: must be an object", "link_error[1].results: is not valid in link_error"},
		nested(150): {"is too deep; links have at most 100 levels"},
		`{"chain":[{"task":"t"},{"group":[{"task":"t","results":"list"}],"callback":{"task":"t"}}]}`: {"chain[1].group[0].results: is only valid for the callback", "chain[1].callback: is not valid in a chain"},
		`{"chain":[{"task":"t"},{"group":[{"task":"t"}],"queue":"q"}]}`:                              {"chain[1].queue: unknown key; valid keys are group, id, immutable, results"},
		`{"task":"t","nonsense":1}`:  {"nonsense: unknown key; valid keys are task, args"},
		`{"chain":{}}`:               {"chain: must be an array, not an object"},
		`{"chain":[{"task":"t"},7]}`: {"chain[1]: must be an object, not a number"},
		`{"chain":[{"task":"t"},{"task":"t","max_retries":"x"}]}`:             {"chain[1].max_retries: must be a number, not a string"},
		`{"chain":[{"task":"t"},{"task":"t","max_retries":101,"retries":1}]}`: {"chain[1].max_retries: 101", "chain[1].retries: unknown key; use max_retries"},
		`{"chain":[{"args":[]}]}`:                                                    {"chain[0].task: is missing"},
		`{"chain":[{"task":"t"}],"max_retries":0}`:                                   {"max_retries: is an option of the tasks"},
		`{"group":[{"task":"t","immutable":true}]}`:                                  {"group[0].immutable: is only valid for the callback"},
		`{"group":[{"task":"t","chain":[]}]}`:                                        {"group[0].chain: unknown key"},
		`{"group":[{"task":"t"}],"callback":[]}`:                                     {"callback: must be an object, not an array"},
		`{"group":[{"task":"t"}],"callback":{"task":"t","timeout":"x","timeout":1}}`: {"callback.timeout: is given twice", "callback.timeout: \"x\""},
		`{"task":"t"` + keys(200):                                                    {"k99: too many keys"},
		`{"chain":[` + strings.Repeat(`{},`, 100) + `{}]}`:                           {"chain: has 101 tasks, more than the limit of 100"},
		many: {"x: is given twice", "and 20 more"},
	} {
		_, err := decodeWork([]byte(body))
		if err == nil {
			t.Errorf("%.80s is accepted", body)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%.80s: %q does not say %q", body, err, w)
			}
		}
		for _, word := range []string{"Go ", "newTask", "newWork", "unmarshal", "struct", "json:", "strconv", "time.Time"} {
			if strings.Contains(err.Error(), word) {
				t.Errorf("%.80s: %q speaks of %q", body, err, word)
			}
		}
	}
}

// The decoder never panics, and every body that it accepts is a task or a workflow.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		`{"task":"t","args":[1],"eta":"2030-01-01T00:00:00Z","expires":60,"timeout":"1s","max_retries":0}`,
		`{"id":"g","group":[{"task":"a","unique":"k","unique_for":1}],"callback":{"task":"b","immutable":true}}`,
		`{"chain":[{"task":"a"},{"task":"b","countdown":1e-9}]}`, `[{}]`, `{"task":"t","task":"u"}`,
		`{"task":"t","headers":{"a":1},"link":[{"task":"u","results":"list","link_error":[{"task":"v"}]}]}`,
		`{"results":"prepend","chain":[{"task":"a"},{"id":"g","group":[{"task":"b"}],"immutable":true},{"task":"c"}]}`, ` {"chain" : [ null , 7 ] } `,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		w, err := decodeWork(body)
		if err != nil {
			if err.Error() == "" || len(err.Error()) > 10_000 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
			return
		}
		if w.Name == "" && w.Chain == nil && w.Group == nil || w.MaxRetries < 0 && w.MaxRetries != jobs.NoRetries || w.Timeout < 0 && w.Timeout != jobs.NoTimeout {
			t.Errorf("%+v", w)
		}
	})
}

// nested returns a task with links in links.
func nested(depth int) string {
	return strings.Repeat(`{"task":"t","link":[`, depth) + `{"task":"t"}` + strings.Repeat(`]}`, depth)
}

// keys returns n keys and the closing brace of an object.
func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":1`, i)
	}
	return b.String() + "}"
}

// A zero value is distinguished from a missing key, and numbers are seconds.
func TestBodyOfATask(t *testing.T) {
	now := time.Now()
	for body, want := range map[string]func(jobs.NewTask) bool{
		`{"task":"t","args":null,"queue":null,"max_retries":null,"timeout":null,"eta":null}`: func(n jobs.NewTask) bool {
			return n.Args == nil && n.Queue == "" && n.MaxRetries == 0 && n.Timeout == 0 && n.RunAt.IsZero()
		},
		`{"task":"t"}`:                              func(n jobs.NewTask) bool { return n.MaxRetries == 0 && n.Timeout == 0 },
		`{"task":"t","max_retries":0}`:              func(n jobs.NewTask) bool { return n.MaxRetries == jobs.NoRetries },
		`{"task":"t","max_retries":7}`:              func(n jobs.NewTask) bool { return n.MaxRetries == 7 },
		`{"task":"t","timeout":0}`:                  func(n jobs.NewTask) bool { return n.Timeout == jobs.NoTimeout },
		`{"task":"t","timeout":"0s"}`:               func(n jobs.NewTask) bool { return n.Timeout == jobs.NoTimeout },
		`{"task":"t","timeout":1e-12}`:              func(n jobs.NewTask) bool { return n.Timeout == 1 },
		`{"task":"t","timeout":"0.1ns"}`:            func(n jobs.NewTask) bool { return n.Timeout == 1 },
		`{"task":"t","timeout":1.5}`:                func(n jobs.NewTask) bool { return n.Timeout == 1500*time.Millisecond },
		`{"task":"t","timeout":"2m"}`:               func(n jobs.NewTask) bool { return n.Timeout == 2*time.Minute },
		`{"task":"t","timeout":0.1}`:                func(n jobs.NewTask) bool { return n.Timeout == 100*time.Millisecond },
		`{"task":"t","unique":"k","unique_for":60}`: func(n jobs.NewTask) bool { return n.UniqueFor == time.Minute },
		`{"task":"t","countdown":0}`:                func(n jobs.NewTask) bool { return !n.RunAt.Before(now) && n.RunAt.Before(now.Add(time.Hour)) },
		`{"task":"t","countdown":7200}`:             func(n jobs.NewTask) bool { return n.RunAt.After(now.Add(time.Hour)) },
		`{"task":"t","countdown":"2h"}`:             func(n jobs.NewTask) bool { return n.RunAt.After(now.Add(time.Hour)) },
		`{"task":"t","expires":7200}`:               func(n jobs.NewTask) bool { return n.Expires.After(now.Add(time.Hour)) },
		`{"task":"t","expires":"2h"}`:               func(n jobs.NewTask) bool { return n.Expires.After(now.Add(time.Hour)) },
		`{"task":"t","expires":0}`:                  func(n jobs.NewTask) bool { return !n.Expires.IsZero() && n.Expires.Before(now.Add(time.Hour)) },
		// Go's zero time from a client must not mean "no time".
		`{"task":"t","expires":"0001-01-01T00:00:00Z"}`:      func(n jobs.NewTask) bool { return !n.Expires.IsZero() && n.Expires.Before(now) },
		`{"task":"t","eta":"2030-01-01T00:00:00.123+02:00"}`: func(n jobs.NewTask) bool { return n.RunAt.UTC().Hour() == 22 },
	} {
		w, err := decodeWork([]byte(body))
		if err != nil || !want(w.NewTask) {
			t.Errorf("%s is %+v, %v", body, w.NewTask, err)
		}
	}
	w, err := decodeWork([]byte(`{"id":"g","group":[{"task":"a","max_retries":0},{"task":"b"}],"callback":{"task":"c","timeout":0,"immutable":true}}`))
	if err != nil || w.ID != "g" || w.Group[0].MaxRetries != jobs.NoRetries || w.Group[1].MaxRetries != 0 || w.Callback.Timeout != jobs.NoTimeout || !w.Callback.Immutable {
		t.Errorf("%+v, %v", w, err)
	}
}
