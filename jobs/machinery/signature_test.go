package machinery

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
)

// accepting is a store that records the tasks it accepts.
type accepting struct {
	jobs.Store
	task jobs.NewTask
}

func (a *accepting) Enqueue(_ context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	a.task = n
	return &jobs.Task{ID: n.ID}, true, nil
}

// again decodes a stored message into machinery's type and encodes it again.
func again(t *testing.T, message []byte) string {
	t.Helper()
	var s tasks.Signature
	dec := json.NewDecoder(bytes.NewReader(message))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		t.Fatalf("%v in %s", err, message)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Stored chains are byte for byte the JSON of machinery's signatures. Therefore this version
// continues chains that an older version stored, and an older version can read new ones.
func TestMessagesAreSignatures(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC)
	next := tasks.Signature{
		UUID: "b", Name: "next", RoutingKey: "slow", ETA: &at, Headers: tasks.Headers{"gale-timeout": "1m0s", "other": 1},
		Args:     []tasks.Arg{{Name: "n", Type: "int64", Value: int64(1) << 60}, {Type: "string", Value: "<&>"}, {Value: nil}, {Value: []string{"a"}}},
		Priority: 3, Immutable: true, RetryCount: 2, RetryTimeout: 1, BrokerMessageGroupId: "g", SQSReceiptHandle: "h",
		StopTaskDeletionOnError: true, IgnoreWhenTaskNotRegistered: true, OnError: []*tasks.Signature{{UUID: "d", Name: "next"}},
	}
	full := &tasks.Signature{UUID: "a", Name: "first", Args: []tasks.Arg{}, OnSuccess: []*tasks.Signature{&next}, OnError: []*tasks.Signature{{UUID: "c", Name: "next"}}}
	want, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	n, err := newTask(full)
	if err != nil || string(n.Signature) != string(want) {
		t.Errorf("%v\n%s\nwant\n%s", err, n.Signature, want)
	}

	store := &accepting{}
	client := &jobs.Client{Store: store}
	link := func(id string, args json.RawMessage, immutable bool) jobs.Link {
		return jobs.Link{NewTask: jobs.NewTask{ID: id, Name: "t", Args: args, Timeout: time.Minute, MaxRetries: 4}, Immutable: immutable}
	}
	chain := []jobs.Link{link("a", json.RawMessage(`[1]`), false), link("b", json.RawMessage(`[{"b":1,"a":[1.50,null,"<"]}]`), true), link("c", nil, false)}
	if _, _, err := client.EnqueueChain(t.Context(), chain); err != nil {
		t.Fatal(err)
	}
	if got := store.task.Signature; again(t, got) != string(got) && !sameValue(t, again(t, got), got) {
		t.Errorf("stored chain\n%s\nencoded by machinery\n%s", got, again(t, got))
	}
	before := `{"UUID":"a","Name":"t","RoutingKey":"","ETA":null,"GroupUUID":"","GroupTaskCount":0,"Args":null,"Headers":null,"Priority":0,"Immutable":true,"RetryCount":0,"RetryTimeout":0,"OnSuccess":[` +
		`{"UUID":"b","Name":"t","RoutingKey":"default","ETA":null,"GroupUUID":"","GroupTaskCount":0,"Args":[{"Name":"","Type":"","Value":{"b":1,"a":[1.50,null,"\u003c"]}}],"Headers":{"gale-timeout":"1m0s"},"Priority":0,"Immutable":false,"RetryCount":4,"RetryTimeout":0,"OnSuccess":[` +
		`{"UUID":"c","Name":"t","RoutingKey":"default","ETA":null,"GroupUUID":"","GroupTaskCount":0,"Args":null,"Headers":{"gale-timeout":"1m0s"},"Priority":0,"Immutable":false,"RetryCount":4,"RetryTimeout":0,"OnSuccess":null,"OnError":null,"ChordCallback":null,"BrokerMessageGroupId":"","SQSReceiptHandle":"","StopTaskDeletionOnError":false,"IgnoreWhenTaskNotRegistered":false}` +
		`],"OnError":null,"ChordCallback":null,"BrokerMessageGroupId":"","SQSReceiptHandle":"","StopTaskDeletionOnError":false,"IgnoreWhenTaskNotRegistered":false}` +
		`],"OnError":null,"ChordCallback":null,"BrokerMessageGroupId":"","SQSReceiptHandle":"","StopTaskDeletionOnError":false,"IgnoreWhenTaskNotRegistered":false}`
	if got := string(store.task.Signature); got != before {
		t.Errorf("stored chain\n%s\nstored by the older version\n%s", got, before)
	}
}

// sameValue compares two JSON texts without the order of keys, because machinery decodes
// arguments into maps.
func sameValue(t *testing.T, a string, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	first, _ := json.Marshal(x)
	second, _ := json.Marshal(y)
	return bytes.Equal(first, second)
}
