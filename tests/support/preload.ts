import { afterAll, setDefaultTimeout } from "bun:test";
import { removeAllNamespaces, removeNamespacesOfDeadRuns } from "./netns.ts";

// Loaded before any test file (bunfig.toml).

/** milliseconds; a hung test must not hang the run, and a slow machine must not fail a sound one */
setDefaultTimeout(60_000);

removeNamespacesOfDeadRuns();
afterAll(removeAllNamespaces);
