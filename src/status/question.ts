import * as v from "valibot";
import { QUERY, type QueryName, type ResourceQuery } from "../api/queries.ts";
import { nearest } from "../config/nearest.ts";
import { show } from "../config/schema.ts";
import { Refusal } from "./refusals.ts";

/** What a request asks for, read and found right. */
export interface Question {
  readonly path: string;
  readonly query: ResourceQuery;
  /** of the request's query, as it came */
  readonly parameters: URLSearchParams;
  /** the parameter in the path, where it has one */
  readonly node?: string;
}

/**
 * Reads a request's query.
 * @param known the parameters that the resource takes beside `pretty`
 * @throws Refusal with status 400 that names the parameter and says what it takes
 */
export function readQuery(path: string, parameters: URLSearchParams, known: readonly QueryName[]): ResourceQuery {
  const names: readonly string[] = [...known, "pretty"];
  const values: Record<string, unknown> = {};
  for (const [name, text] of parameters) {
    if (!names.includes(name)) throw new Refusal(400, unknownParameter(path, name, names));
    if (name in values) throw new Refusal(400, `the parameter ${name} is there twice`);
    const result = v.safeParse(QUERY[name as QueryName].schema, text);
    if (!result.success) {
      const [issue] = result.issues;
      throw new Refusal(400, `the parameter ${name} ${issue.message}, not ${show(text)}`);
    }
    values[name] = result.output;
  }
  return values;
}

function unknownParameter(path: string, name: string, names: readonly string[]): string {
  const meant = nearest(name, names);
  const advice = meant === undefined ? `it takes ${names.join(", ")}` : `did you mean ${meant}?`;
  return `${path} has no parameter ${show(name)}; ${advice}`;
}

/** Path and query of the page that begins at an offset. */
export function linkTo({ path, parameters }: Question, offset: number): string {
  const next = new URLSearchParams(parameters);
  next.set("offset", String(offset));
  return `${path}?${next}`;
}
