package routes

import (
	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/jobs"
)

// taskOptions are the schemas of the keys of a task in the body of POST /tasks.
func taskOptions() map[string]*openapi.Schema {
	span := func(description string) *openapi.Schema {
		return &openapi.Schema{Description: description + ": seconds as a number, or a Go duration such as 90s.", Type: []string{"number", "string"}}
	}
	retries := openapi.Within(0, jobs.MaxRetries)
	retries.Description = "How often a failed attempt is followed by another."
	return map[string]*openapi.Schema{
		"task":        {Description: "Name of a registered task.", Type: "string", MinLength: 1},
		"args":        {Description: "Arguments by position.", Type: "array"},
		"kwargs":      {Description: "Arguments by name, beside or in place of args.", Type: "object"},
		"id":          idSchema("Id of the task; the same id twice is one task."),
		"queue":       idSchema("Queue that workers take the task from."),
		"eta":         {Description: "Earliest start.", Type: "string", Format: "date-time"},
		"countdown":   span("Earliest start, from now"),
		"expires":     {Description: "The task is cancelled if it has not begun by then: a time of RFC 3339, seconds from now as a number, or a Go duration.", Type: []string{"number", "string"}},
		"timeout":     span("Limit of one attempt, where 0 is no limit"),
		"max_retries": retries,
		"unique":      {Description: "Only one task of the same name with this key is accepted within unique_for; further requests get that task.", Type: "string", MinLength: 1},
		"unique_for":  span("How long unique holds"),
	}
}

func idSchema(description string) *openapi.Schema {
	return &openapi.Schema{Description: description, Type: "string", Pattern: "^[A-Za-z0-9._-]{1,128}$"}
}

// memberOptions are those of a task in a workflow.
func memberOptions() map[string]*openapi.Schema {
	all := taskOptions()
	all["immutable"] = &openapi.Schema{Description: "The task does not take the results of the tasks before it.", Type: "boolean"}
	return all
}

// flowOptions are the keys of a workflow.
func flowOptions() map[string]*openapi.Schema {
	return map[string]*openapi.Schema{
		"id":       idSchema("Id of the workflow."),
		"chain":    {Description: "Tasks that run one after the other; each takes the result of the one before it.", Type: "array", Items: openapi.Ref("ChainTask"), MinItems: 1, MaxItems: jobs.MaxChain},
		"group":    {Description: "Tasks that run at the same time.", Type: "array", Items: openapi.Ref("NewTask"), MinItems: 1, MaxItems: jobs.MaxMembers},
		"callback": {Ref: openapi.Ref("ChainTask").Ref, Description: "Task that takes the results of the group, which makes it a chord."},
	}
}

// taskBodies are the schemas of the body of POST /tasks. The body is read key by key,
// see object, so no Go type stands for it.
func taskBodies() []openapi.Type {
	flow := func(required string, keys ...string) *openapi.Schema {
		all := flowOptions()
		s := &openapi.Schema{Properties: map[string]*openapi.Schema{}, Required: []string{required}}
		for _, name := range append(keys, "id", required) {
			s.Properties[name] = all[name]
		}
		return closed(s)
	}
	return []openapi.Type{
		{Name: "NewTask", Description: "A task to start; keys that are not named here get a 400 response.", Schema: closed(&openapi.Schema{Properties: taskOptions(), Required: []string{"task"}})},
		{Name: "ChainTask", Description: "A task that may take the results of other tasks, after its own arguments.", Schema: closed(&openapi.Schema{Properties: memberOptions(), Required: []string{"task"}})},
		{Name: "NewChain", Description: "A chain to start.", Schema: flow("chain")},
		{Name: "NewGroup", Description: "A group to start, or with a callback a chord.", Schema: flow("group", "callback")},
	}
}

// closed makes a schema that of an object without further members.
func closed(s *openapi.Schema) *openapi.Schema {
	s.Type, s.AdditionalProperties = "object", false
	return s
}
