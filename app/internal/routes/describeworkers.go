package routes

import (
	"reflect"
	"slices"

	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/jobs/workerapi"
)

// describeWorkers describes the routes of the worker protocol.
func describeWorkers() openapi.Group {
	return openapi.Group{
		Name: "workers", Description: "The worker protocol, by which programs in any language run tasks. Durations are seconds.",
		Operations: map[string][]openapi.Operation{
			"POST /workers/announce": workerCall("announceWorker", "Announce a worker and its tasks", "The response has the session with which the worker leases tasks.", "WorkerAnnounce", openapi.Ref("WorkerAnnounced"), 400, 413, 503),
			"POST /workers/lease":    workerCall("leaseTasks", "Lease tasks", "The response is sent when a task is due or the time is up. Leases of the session that are not in holds are released.", "WorkerLease", openapi.Ref("WorkerLeases"), 400, 410, 413, 503),
			"POST /workers/extend":   workerCall("extendLeases", "Prolong leases", "The response is sent when one of the leases is lost or cancelled, or the time is up.", "WorkerExtend", openapi.Ref("WorkerExtended"), 400, 410, 413, 503),
			"POST /workers/finish":   workerList("finishAttempts", "End attempts", "A repeated entry gets the state of the first. A lease that is not current gets the code 409.", "WorkerFinish"),
			"POST /workers/release":  workerList("releaseTasks", "Give tasks back", "The tasks are due again after delay. Neither a failure nor a lost attempt is counted.", "WorkerRelease"),
			"POST /workers/progress": workerList("reportProgress", "Report progress", "Two reports a second are stored for each lease. The newest one counts.", "WorkerProgress"),
			"PUT /workers/artifacts/{lease}/{name}": {{
				ID: "putTaskArtifact", Access: openapi.Write, Summary: "Store a file of a task", Description: "The file is one of the task's artifacts once finish names it.",
				Parameters:  []openapi.Parameter{openapi.Path("lease", "Lease of the attempt."), openapi.Path("name", "Name of the file.")},
				RequestBody: &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{anyBytes: {Schema: &openapi.Schema{}}}},
				Responses:   map[string]*openapi.Response{"200": openapi.JSON("The file is stored.", &openapi.Schema{Type: "object"})},
				Problems:    []int{400, 409, 413, 503},
			}},
			"POST /workers/log": workerList("appendTaskLogs", "Append lines to the logs of tasks", "The last 64 KiB of a log are kept.", "WorkerLog"),
		},
		Types: slices.Concat(workerBodies(), workerResponses(), typesNamed("Task", "Failure", "NewTask", "ChainTask")),
	}
}

// typesNamed returns types that the group of tasks has too.
func typesNamed(names ...string) []openapi.Type {
	return slices.DeleteFunc(append(taskTypes(), taskBodies()...), func(t openapi.Type) bool { return !slices.Contains(names, t.Name) })
}

func workerCall(id, summary, description, in string, out *openapi.Schema, problems ...int) []openapi.Operation {
	return []openapi.Operation{{
		ID: id, Access: openapi.Write, Summary: summary, Description: description,
		RequestBody: &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{"application/json": {Schema: openapi.Ref(in)}}},
		Responses:   map[string]*openapi.Response{"200": openapi.JSON("The call has succeeded.", out)},
		Problems:    problems,
	}}
}

func workerList(id, summary, description, entry string) []openapi.Operation {
	all := workerCall(id, summary, description, entry, &openapi.Schema{Type: "array", Items: openapi.Ref("WorkerResult")}, 400, 413)
	all[0].RequestBody.Content["application/json"] = openapi.MediaType{Schema: &openapi.Schema{Type: "array", Items: openapi.Ref(entry), MaxItems: workerapi.MaxEntries}}
	all[0].Responses["200"].Description = "One result for each entry, with a code of its own."
	return all
}

// workerBodies returns the schemas of the requests of workers.
func workerBodies() []openapi.Type {
	text := func(description string) *openapi.Schema {
		return &openapi.Schema{Type: "string", Description: description}
	}
	number := func(description string) *openapi.Schema {
		return &openapi.Schema{Type: "number", Description: description}
	}
	whole := func(description string) *openapi.Schema {
		return &openapi.Schema{Type: "integer", Description: description}
	}
	texts := func(description string) *openapi.Schema {
		return &openapi.Schema{Type: "array", Items: openapi.Text(), Description: description}
	}
	in := func(name, description string, required []string, properties map[string]*openapi.Schema) openapi.Type {
		return openapi.Type{Name: name, Description: description, Schema: closed(&openapi.Schema{Properties: properties, Required: required})}
	}
	wait := number("Seconds to wait: by default 25, at most 50.")
	return []openapi.Type{
		in("WorkerAnnounce", "A worker and its tasks.", []string{"worker", "tasks"}, map[string]*openapi.Schema{
			"worker": text("Name of the worker."), "version": text("Version of the program."),
			"tasks":    {Type: "array", Items: openapi.Ref("WorkerTask"), MinItems: 1, MaxItems: 1000, Description: "Tasks that the worker can run."},
			"replaces": text("Session whose worker is known to be dead; its leases are lost at once."),
		}),
		in("WorkerTask", "A task of a worker.", []string{"name"}, map[string]*openapi.Schema{
			"name": idSchema("Name of the task."), "schema": {Description: "JSON Schema of the arguments, an array by position or an object by name."},
			"queue": idSchema("Default queue."), "max_retries": whole("Default number of retries."), "timeout": number("Default time limit of an attempt."),
			"soft_timeout": number("Time after which the worker interrupts the task."), "rate": text("Largest number of starts over all workers, such as 10/m."),
		}),
		in("WorkerLease", "A request for tasks.", []string{"session"}, map[string]*openapi.Schema{
			"session": text("Session of the worker."), "queues": texts("Queues in order of priority."), "max": whole("Largest number of leases; by default 1."),
			"wait": wait, "holds": texts("Leases that the worker holds."),
		}),
		in("WorkerExtend", "Leases to prolong.", []string{"session", "holds"}, map[string]*openapi.Schema{
			"session": text("Session of the worker."), "holds": texts("Leases that the worker holds."), "wait": wait,
		}),
		in("WorkerFinish", "The end of an attempt.", []string{"lease", "state"}, map[string]*openapi.Schema{
			"lease": text("Lease of the attempt."), "state": openapi.Words("success", "failed", "retry", "lost"), "result": {Description: "Result, any JSON value of at most 1 MiB."},
			"error": text("Error of a failed attempt."), "delay": {Type: []string{"number", "null"}, Description: "Seconds until the next attempt; null is the usual backoff."},
			"artifacts": texts("Names of uploaded files."), "next": {Type: "array", Items: openapi.Ref("NewTask"), Description: "Tasks to accept in the same step."},
		}),
		in("WorkerRelease", "A task to give back.", []string{"lease"}, map[string]*openapi.Schema{"lease": text("Lease of the attempt."), "delay": number("Seconds until the task is due again.")}),
		in("WorkerProgress", "Progress of an attempt; members that are left out stay as they are.", []string{"lease"}, map[string]*openapi.Schema{
			"lease": text("Lease of the attempt."), "progress": number("Percent."), "note": text("Note for people."), "meta": {Description: "Result of the task until it ends, any JSON value of at most 4 KiB."},
		}),
		in("WorkerLog", "Output of an attempt.", []string{"lease", "lines"}, map[string]*openapi.Schema{
			"lease": text("Lease of the attempt."), "lines": {OneOf: []*openapi.Schema{openapi.Text(), {Type: "array", Items: openapi.Text()}}, Description: "Text, or a list of lines."},
		}),
	}
}

// workerResponses returns the schemas of the responses to workers.
func workerResponses() []openapi.Type {
	return []openapi.Type{
		{Name: "WorkerAnnounced", Description: "A session.", Go: reflect.TypeFor[workerapi.AnnounceResponse](), Fields: map[string]openapi.Schema{
			"session": says("Id of the session."), "ttl": says("Seconds from the last successful extend after which the leases end."), "limits": says("Limits of requests."),
		}},
		{Name: "WorkerLimits", Description: "Limits of requests.", Go: reflect.TypeFor[workerapi.Limits](), Fields: map[string]openapi.Schema{
			"result": says("Bytes of a result."), "error": says("Bytes of an error; longer ones are cut."), "log": says("Bytes of a log."), "note": says("Bytes of a note; longer ones are cut."),
			"meta": says("Bytes of meta."), "body": says("Bytes of a body."), "artifact": says("Bytes of an artifact; 0 is no limit."), "entries": says("Entries of a list."), "wait": says("Largest wait, in seconds."),
		}},
		{Name: "WorkerLeases", Description: "Leased tasks.", Go: reflect.TypeFor[workerapi.LeaseResponse](), Fields: map[string]openapi.Schema{"leases": says("Leases; empty if no task was due.")}},
		{Name: "WorkerLeased", Description: "A task to run.", Go: reflect.TypeFor[workerapi.Leased](), Fields: map[string]openapi.Schema{
			"lease": says("Id of the lease."), "task": says("The task."), "retries": says("Failed attempts before this one."),
			"headers": {Description: "Headers of the task; null if there are none.", Type: []string{"object", "null"}}, "timeout": says("Time limit in seconds; 0 is none."), "soft_timeout": says("Time in seconds after which the worker interrupts the task; 0 is never."),
		}},
		{Name: "WorkerExtended", Description: "Leases whose attempts the worker must end.", Go: reflect.TypeFor[workerapi.ExtendResponse](), Fields: map[string]openapi.Schema{
			"lost": says("Leases that are lost or have timed out."), "cancelled": says("Leases whose tasks were cancelled."),
		}},
		{Name: "WorkerResult", Description: "Result of an entry.", Go: reflect.TypeFor[workerapi.Result](), Fields: map[string]openapi.Schema{
			"lease": says("Lease of the entry."), "code": says("200, or what would be the HTTP status of an error."),
			"state": words("State of the task after the change.", taskStates()...), "reason": says("What is wrong."),
		}},
	}
}
