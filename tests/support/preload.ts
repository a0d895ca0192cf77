import { afterAll } from "bun:test";
import { removeAllNamespaces, removeNamespacesOfDeadRuns } from "./netns.ts";

// Loaded before any test file (bunfig.toml).

removeNamespacesOfDeadRuns();
afterAll(removeAllNamespaces);
