/** The handler as it was compiled, unbundled, on the mocked task library: what is on the PATH is an answer. */

import * as path from "path";
import { TaskLibAnswers } from "azure-pipelines-task-lib/mock-answer";
import { TaskMockRunner } from "azure-pipelines-task-lib/mock-run";

const runner = new TaskMockRunner(path.join(__dirname, "..", "src", "main.js"));
runner.setAnswers(JSON.parse(process.env["MOCK_ANSWERS"] ?? "{}") as TaskLibAnswers);
runner.run();
