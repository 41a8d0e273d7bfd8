// The pages by path. Those with a name are in the navigation, and the keys "g" and their
// letter open them. A page without a name belongs to the page whose path is in of.

import * as channels from "./pages_channels.js";
import * as files from "./pages_files.js";
import * as overview from "./pages_overview.js";
import * as queues from "./pages_queues.js";
import * as schedules from "./pages_schedules.js";
import * as task from "./pages_task.js";
import * as tasks from "./pages_tasks.js";
import * as workers from "./pages_workers.js";
import * as workflows from "./pages_workflows.js";

export const routes = [
  { path: "/", name: "Overview", letter: "o", page: overview },
  { path: "/tasks", name: "Tasks", letter: "t", page: tasks },
  { path: "/tasks/{id}", of: "/tasks", page: task },
  { path: "/workflows", name: "Workflows", letter: "l", page: workflows },
  { path: "/workflows/{id}", of: "/workflows", page: workflows },
  { path: "/queues", name: "Queues", letter: "q", page: queues },
  { path: "/schedules", name: "Schedules", letter: "s", page: schedules },
  { path: "/workers", name: "Workers", letter: "w", page: workers },
  { path: "/files", name: "Files", letter: "f", page: files },
  { path: "/channels", name: "Channels", letter: "c", page: channels },
];
