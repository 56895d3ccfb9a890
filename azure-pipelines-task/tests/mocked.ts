/**
 * The compiled, unbundled handler on the mocked task library. MOCK_ANSWERS has the programs on the
 * PATH.
 */

import * as path from "path";
import { TaskLibAnswers } from "azure-pipelines-task-lib/mock-answer";
import { TaskMockRunner } from "azure-pipelines-task-lib/mock-run";

const runner = new TaskMockRunner(path.join(__dirname, "..", "src", "main.js"));
runner.setAnswers(JSON.parse(process.env["MOCK_ANSWERS"] ?? "{}") as TaskLibAnswers);
runner.run();
