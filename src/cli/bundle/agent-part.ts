import { RESOURCES, type ResourceName } from "../../api/resources.ts";
import { AgentAwayError } from "../../base/errors.ts";
import { type AgentClient, pathOf } from "../client.ts";
import type { Collection } from "./collection.ts";

/** All that the agent tells of itself. */
export async function takeAgent(into: Collection, agent: AgentClient): Promise<void> {
  let away: AgentAwayError | undefined;
  const ask = async (path: string, get: (path: string) => Promise<unknown>) => {
    // One that hangs costs its time limit once.
    if (away !== undefined) throw away;
    try {
      return await get(path);
    } catch (error) {
      if (error instanceof AgentAwayError) away = error;
      throw error;
    }
  };
  for (const name of Object.keys(RESOURCES) as ResourceName[]) {
    // One of the list of peers, which is there as a whole.
    if (name === "peer") continue;
    const { summary } = RESOURCES[name];
    await into.take(`agent/${name}.json`, `the agent: ${summary}`, () =>
      ask(pathOf(name), (path) => agent.whole(path)),
    );
  }
  for (const [path, file] of FURTHER) {
    await into.take(`agent/${file}`, `the agent: ${path}`, () => ask(path, (each) => agent.text(each)));
  }
}

const FURTHER = [
  ["/healthz", "healthz.json"],
  ["/readyz", "readyz.json"],
  ["/openapi.json", "openapi.json"],
  ["/metrics", "metrics.txt"],
] as const;
