package routes

import (
	"maps"
	"reflect"
	"strings"

	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/jobs"
)

// Parameters of several operations.
var (
	taskID     = openapi.Path("id", "Id of a task.")
	workflowID = openapi.Path("id", "Id of a chain, a group or a chord. The id of a chain is that of its first task.")
	taskWait   = openapi.Query("wait", "Maximum time to wait for a final state, in seconds or as a Go duration such as 30s: at most 60 s, by default 0.", openapi.Text())
)

// describeTasks describes the routes of tasks and workflows.
func describeTasks() openapi.Group {
	g := openapi.Group{
		Name: "tasks", Description: "Tasks, which run in workers, and workflows of several tasks.",
		Operations: taskReads(), Types: append(taskTypes(), taskBodies()...),
	}
	maps.Copy(g.Operations, taskWrites())
	maps.Copy(g.Operations, workflowOperations())
	maps.Copy(g.Operations, queueOperations())
	maps.Copy(g.Operations, scheduleOperations())
	return g
}

func taskReads() map[string][]openapi.Operation {
	return map[string][]openapi.Operation{
		"GET /tasks": {{
			ID: "listTasks", Access: openapi.Read, Summary: "List tasks", Description: "The newest tasks come first. A page with fewer tasks than the limit need not be the last one.",
			Parameters: []openapi.Parameter{
				openapi.Query("state", "Only tasks in this state.", openapi.Words(taskStates()...)),
				openapi.Query("task", "Only tasks with this name.", openapi.Text()),
				openapi.Query("queue", "Only tasks of this queue.", openapi.Text()),
				openapi.Query("q", "Only tasks with this text in their id or in the JSON of their arguments; upper and lower case differ.", openapi.Text()),
				openapi.Query("since", "Only tasks that were accepted at this time or later (RFC 3339).", openapi.Text()),
				openapi.Query("until", "Only tasks that were accepted before this time (RFC 3339).", openapi.Text()),
				openapi.Query("limit", "Maximum number of tasks in a page; by default 50.", openapi.Within(1, jobs.MaxPage)),
				openapi.Query("before", "Position of a page, from the link in next.", &openapi.Schema{Type: "integer"}),
			},
			Responses: map[string]*openapi.Response{"200": openapi.JSON("A page of tasks.", openapi.Ref("TaskPage"))},
			Problems:  []int{400, 503},
		}},
		"GET /tasks/types": {{
			ID: "listTaskTypes", Access: openapi.Read, Summary: "List the registered tasks", Description: "Each entry contains a JSON Schema of the arguments.",
			Responses: map[string]*openapi.Response{"200": openapi.JSON("All registered tasks.", &openapi.Schema{Type: "array", Items: openapi.Ref("TaskType")})},
		}},
		"GET /tasks/{id}": {{
			ID: "getTask", Access: openapi.Read, Summary: "Get a task", Description: "With wait, the response is sent when the task has ended or the time is up.",
			Parameters: []openapi.Parameter{taskID, taskWait},
			Responses:  map[string]*openapi.Response{"200": openapi.JSON("The current state of the task.", openapi.Ref("Task"))},
			Problems:   []int{400, 404, 503},
		}},
		"GET /tasks/{id}/log": {{
			ID: "getTaskLog", Access: openapi.Read, Summary: "Get the log of a task", Description: "The last 64 KiB of the lines that the handler has logged in all attempts.",
			Parameters: []openapi.Parameter{taskID},
			Responses:  map[string]*openapi.Response{"200": openapi.Body("The log.", textPlain, openapi.Text())},
			Problems:   []int{404, 503},
		}},
		"GET /tasks/{id}/artifacts/{name}": {redirectable(openapi.Operation{
			ID: "getTaskArtifact", Access: openapi.Read, Summary: "Get an artifact of a task", Description: "The names of the artifacts are in the task object.",
			Parameters: append([]openapi.Parameter{taskID, openapi.Path("name", "Name of the file.")}, fileFields()...),
			Responses:  fileResponses(), Problems: []int{404, 503},
		})},
		"GET /tasks/{id}/watch": {withSocket(openapi.Operation{
			ID: "watchTask", Access: openapi.Handshake, Summary: "Watch a task by WebSocket",
			Description: "The server sends the task object, and sends it again after every change of state or progress. After the final state it closes the connection with code 1000.",
			Parameters:  []openapi.Parameter{taskID}, Problems: []int{404},
		})},
	}
}

func taskWrites() map[string][]openapi.Operation {
	accepted := &openapi.Schema{OneOf: []*openapi.Schema{openapi.Ref("Task"), openapi.Ref("Workflow")}}
	location := map[string]string{"Location": "Path of the task or the workflow."}
	changedTask := map[string]*openapi.Response{"200": openapi.JSON("The task after the change.", openapi.Ref("Task"))}
	changeBody := &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{"application/json": {Schema: openapi.Ref("TaskSelection")}}}
	changes := map[string]*openapi.Response{"200": openapi.JSON("The number of tasks that were changed.", openapi.Ref("TaskChanges"))}
	return map[string][]openapi.Operation{
		"POST /tasks": {{
			ID: "createTask", Access: openapi.Write, Summary: "Start a task or a workflow",
			Description: "The response is sent once the task is durable. If a task with the same id or unique key exists, the response is that task.",
			RequestBody: &openapi.RequestBody{Required: true, Content: map[string]openapi.MediaType{"application/json": {Schema: &openapi.Schema{
				OneOf: []*openapi.Schema{openapi.Ref("NewTask"), openapi.Ref("NewChain"), openapi.Ref("NewGroup")},
			}}}},
			Responses: map[string]*openapi.Response{
				"202": openapi.JSON("The task or workflow was accepted.", accepted).With(location),
				"200": openapi.JSON("The task or workflow already existed.", accepted).With(location),
			},
			Problems: []int{400, 404, 409, 413, 415, 503},
		}},
		"POST /tasks/cancel": {{
			ID: "cancelTasks", Access: openapi.Write, Summary: "Cancel several tasks", Description: "The body selects tasks. Those that have ended are skipped.",
			RequestBody: changeBody, Responses: changes, Problems: []int{400, 413, 415, 503},
		}},
		"POST /tasks/retry": {{
			ID: "retryTasks", Access: openapi.Write, Summary: "Run several tasks again", Description: "The body selects tasks. Those that are not in the state failed, cancelled or dead are skipped.",
			RequestBody: changeBody, Responses: changes, Problems: []int{400, 413, 415, 503},
		}},
		"DELETE /tasks/{id}": {{
			ID: "cancelTask", Access: openapi.Write, Summary: "Cancel a task", Description: "A waiting task never starts. The context of a running task ends within half a second.",
			Parameters: []openapi.Parameter{taskID}, Responses: changedTask, Problems: []int{404, 409, 503},
		}},
		"POST /tasks/{id}/retry": {{
			ID: "retryTask", Access: openapi.Write, Summary: "Run a task again", Description: "Only a task in the state failed, cancelled or dead can run again.",
			Parameters: []openapi.Parameter{taskID}, Responses: changedTask, Problems: []int{404, 409, 503},
		}},
	}
}

func workflowOperations() map[string][]openapi.Operation {
	return map[string][]openapi.Operation{
		"GET /workflows/{id}": {{
			ID: "getWorkflow", Access: openapi.Read, Summary: "Get the state of a workflow", Description: "With wait, the response is sent when the workflow has ended or the time is up.",
			Parameters: []openapi.Parameter{workflowID, taskWait},
			Responses:  map[string]*openapi.Response{"200": openapi.JSON("The current state of the workflow.", openapi.Ref("Workflow"))},
			Problems:   []int{400, 404, 503},
		}},
		"DELETE /workflows/{id}": {{
			ID: "cancelWorkflow", Access: openapi.Write, Summary: "Cancel a workflow", Description: "All of its tasks are cancelled in one step. They cannot be run again.",
			Parameters: []openapi.Parameter{workflowID},
			Responses:  map[string]*openapi.Response{"200": openapi.JSON("The workflow after the change.", openapi.Ref("Workflow"))},
			Problems:   []int{404, 409, 503},
		}},
	}
}

func queueOperations() map[string][]openapi.Operation {
	queue := map[string]*openapi.Response{"200": openapi.JSON("The queue after the change.", openapi.Ref("Queue"))}
	name := []openapi.Parameter{openapi.Path("name", "Name of a queue.")}
	return map[string][]openapi.Operation{
		"GET /queues": {{
			ID: "listQueues", Access: openapi.Read, Summary: "List the queues", Description: "Queues that have no waiting, running or dead tasks and are not paused are left out.",
			Responses: map[string]*openapi.Response{"200": openapi.JSON("The queues, sorted by name.", &openapi.Schema{Type: "array", Items: openapi.Ref("Queue")})},
			Problems:  []int{503},
		}},
		"POST /queues/{name}/pause": {{
			ID: "pauseQueue", Access: openapi.Write, Summary: "Pause a queue", Description: "No worker starts tasks of the queue. Running tasks continue, and new ones are accepted.",
			Parameters: name, Responses: queue, Problems: []int{400, 503},
		}},
		"POST /queues/{name}/resume": {{
			ID: "resumeQueue", Access: openapi.Write, Summary: "Resume a queue", Description: "Workers start tasks of the queue again.",
			Parameters: name, Responses: queue, Problems: []int{400, 503},
		}},
	}
}

func scheduleOperations() map[string][]openapi.Operation {
	return map[string][]openapi.Operation{
		"GET /schedules": {{
			ID: "listSchedules", Access: openapi.Read, Summary: "List the schedules", Description: "The schedules of the application and of the tasks file, with their next start times.",
			Responses: map[string]*openapi.Response{"200": openapi.JSON("All schedules.", &openapi.Schema{Type: "array", Items: openapi.Ref("Schedule")})},
		}},
		"POST /schedules/{name}/run": {{
			ID: "runSchedule", Access: openapi.Write, Summary: "Start the task of a schedule now", Description: "The start times of the schedule stay as they are.",
			Parameters: []openapi.Parameter{openapi.Path("name", "Name of a schedule, which is that of its task.")},
			Responses:  map[string]*openapi.Response{"202": openapi.JSON("The task was accepted.", openapi.Ref("Task")).With(map[string]string{"Location": "Path of the task."})},
			Problems:   []int{404, 503},
		}},
	}
}

// queueSchema returns the schema of driver.Depth, which encodes itself.
func queueSchema() *openapi.Schema {
	count := func(description string) *openapi.Schema {
		return &openapi.Schema{Description: description, Type: "integer"}
	}
	return &openapi.Schema{
		Type:     "object",
		Required: []string{"queue", "waiting", "scheduled", "running", "dead", "paused", "oldest_seconds"},
		Properties: map[string]*openapi.Schema{
			"queue":          {Description: "Name of the queue.", Type: "string"},
			"waiting":        count("Number of tasks that are due and wait for a worker."),
			"scheduled":      count("Number of tasks that are not due yet."),
			"running":        count("Number of running tasks."),
			"dead":           count("Number of dead letters."),
			"paused":         {Description: "Whether the queue is paused.", Type: "boolean"},
			"oldest_seconds": {Description: "Time since the oldest waiting task became due, in seconds.", Type: "number"},
			"broken":         {Description: "Reason why the store cannot serve the queue; left out if it can.", Type: "string"},
		},
	}
}

// words returns the schema of a string that is one of a list.
func words[S ~string](description string, list ...S) openapi.Schema {
	s := *openapi.Words(list...)
	s.Description = description
	return s
}

// says returns the schema of a member whose other properties are derived from the Go type.
func says(description string) openapi.Schema { return openapi.Schema{Description: description} }

// percent returns the schema of a progress in percent.
func percent(description string) openapi.Schema {
	s := *openapi.Within(0, 100)
	s.Description = description
	return s
}

func taskTypes() []openapi.Type {
	return []openapi.Type{
		{Name: "Task", Description: "A task.", Go: reflect.TypeFor[jobs.Task](), Fields: map[string]openapi.Schema{
			"id": says("Id of the task."), "task": says("Name of the task's definition."), "queue": says("Queue of the task."),
			"args":     {Description: "Arguments by position.", Type: "array"},
			"kwargs":   {Description: "Arguments by name; empty for a task that takes them by position.", Type: "object"},
			"state":    words("State of the task.", taskStates()...),
			"progress": percent("Progress of the running or last attempt, in percent."), "note": says("Last note that the handler reported with its progress."),
			"attempts": says("Number of attempts that have started."), "worker": says("Worker of the last attempt; empty before the first."),
			"created": says("Time at which the task was accepted."), "started": says("Time at which the last attempt started; null before the first."),
			"finished": says("Time at which the state became final; null before that."), "result": says("Result of the handler, any JSON value; null if there is none."),
			"error": says("Error of the last attempt; empty if there is none."), "failures": {Description: "Attempts that failed.", Type: "array", Items: openapi.Ref("Failure")},
			"artifacts": {Description: "Names of the artifacts of the task.", Type: "array"},
			"trace":     says("Id of the trace to which the task belongs, if it was enqueued with a traceparent."),
		}},
		{Name: "Failure", Description: "An attempt that failed.", Go: reflect.TypeFor[jobs.Failure](), Fields: map[string]openapi.Schema{
			"time": says("Time at which the attempt failed."), "attempt": says("Number of the attempt, starting with 1."), "error": says("Error of the attempt."),
		}},
		{Name: "TaskPage", Description: "A page of a list of tasks.", Go: reflect.TypeFor[taskPage](), Fields: map[string]openapi.Schema{
			"tasks": says("Tasks, the newest first."), "next": says("Link to the next page; null on the last page."),
		}},
		{Name: "TaskChanges", Description: "Result of a change of several tasks.", Go: reflect.TypeFor[changeCount](), Fields: map[string]openapi.Schema{
			"count": says("Number of tasks that were changed."), "more": says("Whether the limit of 10,000 tasks of a request was reached, so that there may be more tasks to change."),
		}},
		{Name: "Queue", Description: "A queue.", Schema: queueSchema()},
		{Name: "Schedule", Description: "A schedule.", Go: reflect.TypeFor[scheduleEntry](), Fields: map[string]openapi.Schema{
			"name": says("Name of the schedule."), "task": says("Name of its task."), "args": {Description: "Arguments of the task.", Type: "array"},
			"schedule": says("The schedule, as in the tasks file."), "missed": words("What happens to start times at which no worker ran.", "skip", "once"),
			"next": says("The next start times."),
		}},
		{Name: "TaskType", Description: "A registered task.", Go: reflect.TypeFor[taskType](), Fields: map[string]openapi.Schema{
			"task": says("Name of the task."), "args": {Description: "JSON Schema of the arguments, draft 2020-12.", Type: "object"},
		}},
		{Name: "Workflow", Description: "A chain, a group or a chord.", Go: reflect.TypeFor[jobs.Workflow](), Fields: map[string]openapi.Schema{
			"id": says("Id of the workflow."), "kind": words("Kind of the workflow.", "chain", "group", "chord"),
			"state":    words("State of the workflow.", jobs.StateQueued, jobs.StateRunning, jobs.StateSuccess, jobs.StateFailed, jobs.StateCancelled),
			"progress": percent("Progress of the workflow, in percent."), "tasks": says("Ids of the tasks in their order, without the callback of a chord."),
			"callback": says("Id of the callback of a chord; empty for other kinds."), "succeeded": says("Number of tasks that have succeeded."),
			"failed": says("Number of tasks that have ended without success."), "failed_task": says("Id of the first task that ended without success; empty if there is none."),
			"error": says("Error of that task; empty if there is none."), "result": says("Result of the last task of a chain or of the callback of a chord; null if there is none."),
			"created": says("Time at which the workflow was accepted."), "finished": says("Time at which the workflow ended; null before that."),
		}},
	}
}

// taskStates returns the names of all states of a task.
func taskStates() []string { return strings.Split(jobs.StateNames(), ", ") }
