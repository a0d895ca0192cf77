import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import * as v from "valibot";

/** Holds answers of the debug API against the document that describes it. */

const Content = v.object({ content: v.optional(v.record(v.string(), v.object({ schema: v.unknown() }))) });
const Reference = v.object({ $ref: v.string() });
const Answer = v.union([Reference, Content]);
const Operation = v.looseObject({ responses: v.record(v.string(), Answer) });
const Document = v.looseObject({
  paths: v.record(v.string(), v.record(v.string(), Operation)),
  components: v.looseObject({ schemas: v.record(v.string(), v.unknown()), responses: v.record(v.string(), Content) }),
});

const JsonSchema = v.looseObject({});

/** The same schema, refusing what it does not name. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const out = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return "properties" in out && !("additionalProperties" in out) ? { ...out, additionalProperties: false } : out;
}

export class ApiCheck {
  readonly #document: v.InferOutput<typeof Document>;
  readonly #ajv = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true });
  readonly #known = new Map<string, ValidateFunction>();

  /** @param document OpenAPI 3.1, as /openapi.json has it */
  constructor(document: unknown) {
    this.#document = v.parse(Document, document);
    formats(this.#ajv);
    const { schemas } = this.#document.components;
    this.#ajv.addSchema(v.parse(JsonSchema, rebased({ $id: "openapi:", $defs: closed(schemas) })));
  }

  /**
   * @param path of the request, with its query or without
   * @throws Error where the document does not have such an answer
   */
  check(method: string, path: string, status: number, body: unknown): void {
    const { pathname } = new URL(path, "http://agent");
    const what = `${method} ${path} answered ${status}`;
    const schema = this.#schemaOf(method, pathname, status);
    if (schema === undefined) {
      if (status === 404 && !this.#template(pathname)) return;
      throw new Error(`${what}, of which /openapi.json has nothing`);
    }
    const key = JSON.stringify(schema);
    const validate = this.#known.get(key) ?? this.#ajv.compile(v.parse(JsonSchema, rebased(closed(schema))));
    this.#known.set(key, validate);
    if (validate(body)) return;
    const problems = validate.errors?.map(
      (error) => `${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`,
    );
    throw new Error(`${what}, which is not as /openapi.json has it: ${problems?.slice(0, 5).join("; ")}`);
  }

  #template(pathname: string): string | undefined {
    const { paths } = this.#document;
    if (pathname in paths) return pathname;
    return Object.keys(paths).find((path) => new RegExp(`^${path.replace(/\{\w+\}/g, "[^/]+")}$`).test(pathname));
  }

  #schemaOf(method: string, pathname: string, status: number): unknown {
    const template = this.#template(pathname);
    const operations = template === undefined ? undefined : this.#document.paths[template];
    // A method that there is not has no description: 405 is that of any other one.
    const operation =
      operations?.[method.toLowerCase()] ?? (status === 405 ? Object.values(operations ?? {})[0] : undefined);
    const answer = operation?.responses[String(status)];
    const { responses } = this.#document.components;
    const found = answer && "$ref" in answer ? responses[answer.$ref.split("/").at(-1) ?? ""] : answer;
    return found?.content?.["application/json"]?.schema;
  }
}

/** References lead to the schemas by name. */
function rebased(schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components/schemas/', '"openapi:#/$defs/'));
}
