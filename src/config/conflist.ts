import * as v from "valibot";
import { CNI_VERSIONS } from "./cni-versions.ts";
import { mustBe } from "./schema.ts";

/** A list of CNI plugins, as the container runtime reads it from its folder (CNI specification, section 1). */

/** A key that is missing is told by the message of the object around it. */
const objectOf = (allowed: string) => (issue: v.BaseIssue<unknown>) =>
  issue.path === undefined ? mustBe(allowed)(issue) : "is missing";

/** The type by which a conflist calls our plugin. */
const PLUGIN = "flannel";

const Plugin = v.looseObject(
  { type: v.pipe(v.string(mustBe("a plugin's name")), v.nonEmpty(mustBe("a plugin's name"))) },
  objectOf("an object"),
);

const Conflist = v.looseObject(
  {
    cniVersion: v.picklist(CNI_VERSIONS, mustBe(`one of ${CNI_VERSIONS.join(", ")}`)),
    name: v.pipe(
      v.string(mustBe("a network's name")),
      v.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, mustBe("a network's name")),
    ),
    plugins: v.pipe(
      v.array(Plugin, mustBe("a list of plugins")),
      v.check((plugins) => plugins.some(({ type }) => type === PLUGIN), `must have a plugin of the type ${PLUGIN}`),
    ),
  },
  objectOf("an object with cniVersion, name and plugins"),
);

/** @returns why the text is no conflist that calls our plugin, or undefined if it is one */
export function conflistProblem(text: string): string | undefined {
  if (text.trim() === "") return "it is empty";
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return `it is not JSON: ${error instanceof Error ? error.message : error}`;
  }
  const result = v.safeParse(Conflist, json, { abortEarly: true });
  if (result.success) return undefined;
  const [issue] = result.issues;
  return `${v.getDotPath(issue) ?? "it"} ${issue.message}`;
}
