package routes

import (
	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/jobs"
)

// taskOptions returns the schemas of the keys of a task in the body of POST /tasks.
func taskOptions() map[string]*openapi.Schema {
	span := func(description string) *openapi.Schema {
		return &openapi.Schema{Description: description + ": seconds as a number, or a Go duration such as 90s.", Type: []string{"number", "string"}}
	}
	retries := openapi.Within(0, jobs.MaxRetries)
	retries.Description = "Maximum number of further attempts after a failed one."
	return map[string]*openapi.Schema{
		"task":            {Description: "Name of a registered task, or of one that a worker has announced.", Type: "string", MinLength: 1},
		"args":            {Description: "Arguments by position.", Type: "array"},
		"kwargs":          {Description: "Arguments by name, in addition to args or instead of them.", Type: "object"},
		"headers":         {Description: "Values for the worker beside the arguments, at most 8 KiB of JSON.", Type: "object"},
		"link":            {Description: "Tasks that start in the step in which the task succeeds.", Type: "array", Items: openapi.Ref("ChainTask"), MaxItems: maxLinks},
		"link_error":      {Description: "Tasks that start in the step in which the task ends as failed or dead. The error text precedes their arguments, unless they are immutable.", Type: "array", Items: openapi.Ref("ChainTask"), MaxItems: maxLinks},
		"id":              idSchema("Id of the task; a request with the id of an existing task gets that task."),
		"queue":           idSchema("Queue of the task."),
		"eta":             {Description: "Earliest start.", Type: "string", Format: "date-time"},
		"countdown":       span("Earliest start, from now"),
		"expires":         {Description: "The task is cancelled if it has not started by this time: a time as in RFC 3339 with a time zone, or the time from now as a number of seconds or a Go duration.", Type: []string{"number", "string"}},
		"timeout":         span("Time limit of each attempt; 0 is no limit"),
		"max_retries":     retries,
		"unique":          {Description: "Within unique_for, only one task with this name and key is accepted; further requests get that task.", Type: "string", MinLength: 1},
		"unique_for":      span("Time for which the key in unique is in use"),
		"wait_for_worker": {Description: "Whether a name is accepted that no worker has announced; without it, the response is 404.", Type: "boolean"},
	}
}

func idSchema(description string) *openapi.Schema {
	return &openapi.Schema{Description: description, Type: "string", Pattern: "^[A-Za-z0-9._-]{1,128}$"}
}

// memberOptions returns the schemas of the keys of a task in a workflow.
func memberOptions() map[string]*openapi.Schema {
	all := taskOptions()
	all["immutable"] = &openapi.Schema{Description: "Whether the task gets no results of earlier tasks.", Type: "boolean"}
	all["results"] = resultsSchema("How the task gets the results of earlier tasks")
	return all
}

func resultsSchema(description string) *openapi.Schema {
	s := openapi.Words(string(jobs.ResultsAppend), string(jobs.ResultsPrepend), string(jobs.ResultsList))
	s.Description = description + ": after its arguments (append, the default), before them (prepend), or as one array before them (list)."
	return s
}

// flowOptions returns the schemas of the keys of a workflow.
func flowOptions() map[string]*openapi.Schema {
	return map[string]*openapi.Schema{
		"id":       idSchema("Id of the workflow."),
		"results":  resultsSchema("How each task gets the results of earlier tasks, unless it says something else"),
		"chain":    {Description: "Tasks that run one after the other; each gets the result of the previous task. An element may be a group; the next element gets the results of its tasks.", Type: "array", Items: &openapi.Schema{AnyOf: []*openapi.Schema{openapi.Ref("ChainTask"), openapi.Ref("ChainGroup")}}, MinItems: 1, MaxItems: jobs.MaxChain},
		"group":    {Description: "Tasks that run at the same time.", Type: "array", Items: openapi.Ref("NewTask"), MinItems: 1, MaxItems: jobs.MaxMembers},
		"callback": {Ref: openapi.Ref("ChainTask").Ref, Description: "Task that gets the results of the group; with it, the group is a chord."},
	}
}

// taskBodies returns the schemas of the body of POST /tasks. The body has no Go type,
// because it is decoded key by key; see object.
func taskBodies() []openapi.Type {
	flow := func(required string, keys ...string) *openapi.Schema {
		all := flowOptions()
		s := &openapi.Schema{Properties: map[string]*openapi.Schema{}, Required: []string{required}}
		for _, name := range append(keys, "id", "results", required) {
			s.Properties[name] = all[name]
		}
		return closed(s)
	}
	return []openapi.Type{
		{Name: "NewTask", Description: "A task to start; a request with other keys gets a 400 response.", Schema: closed(&openapi.Schema{Properties: taskOptions(), Required: []string{"task"}})},
		{Name: "ChainTask", Description: "A task of a workflow; the results of other tasks are appended to its arguments.", Schema: closed(&openapi.Schema{Properties: memberOptions(), Required: []string{"task"}})},
		{Name: "ChainGroup", Description: "A group as an element of a chain.", Schema: closed(&openapi.Schema{Required: []string{"group"}, Properties: map[string]*openapi.Schema{
			"id": idSchema("Id of the group."), "group": flowOptions()["group"], "immutable": memberOptions()["immutable"], "results": memberOptions()["results"],
		}})},
		{Name: "TaskSelection", Description: "A selection of tasks, with at least one key; a task is selected if it matches all of them.", Schema: closed(&openapi.Schema{Properties: map[string]*openapi.Schema{
			"state": openapi.Words(taskStates()...),
			"task":  {Description: "Only tasks with this name.", Type: "string"},
			"queue": {Description: "Only tasks of this queue.", Type: "string"},
			"q":     {Description: "Only tasks with this text in their id, their name or the JSON of their arguments.", Type: "string"},
			"since": {Description: "Only tasks that were accepted at this time or later.", Type: "string", Format: "date-time"},
			"until": {Description: "Only tasks that were accepted before this time.", Type: "string", Format: "date-time"},
			"ids":   {Description: "Only tasks with these ids; unknown ids are skipped.", Type: "array", Items: openapi.Text(), MaxItems: maxChanges},
		}})},
		{Name: "NewChain", Description: "A chain to start.", Schema: flow("chain")},
		{Name: "NewGroup", Description: "A group to start; with a callback it is a chord.", Schema: flow("group", "callback")},
	}
}

// closed changes s to the schema of an object without other members, and returns it.
func closed(s *openapi.Schema) *openapi.Schema {
	s.Type, s.AdditionalProperties = "object", false
	return s
}
