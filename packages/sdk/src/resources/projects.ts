import type OpenAI from 'openai'
import type { APIPromise } from 'openai'
import type { AccountId, ProjectId } from '../ids.ts'
import type { Limits, LimitsPatch } from '../limits.ts'
import { type ListParams, listOf, type MeshList } from '../page.ts'

/** A project: keys are in it, and its limits hold for all of them together. */
export interface Project {
  readonly id: ProjectId
  readonly accountId: AccountId
  readonly name: string
  /** Whether keys that name no project are in it. It cannot be deleted. */
  readonly isDefault: boolean
  readonly limits: Limits
  readonly createdAt: string
}

export interface DeletedProject extends Project {
  readonly deleted: true
}

export interface ProjectCreateParams {
  readonly name: string
  /** For operators: whose project it is to be. */
  readonly accountId?: AccountId | undefined
  readonly limits?: LimitsPatch | undefined
}

export interface ProjectUpdateParams {
  readonly name?: string | undefined
  readonly limits?: LimitsPatch | undefined
}

/** `mesh.projects`: projects of the account, for keys with the scope `keys`. */
export class Projects {
  readonly #client: OpenAI

  constructor(client: OpenAI) {
    this.#client = client
  }

  /** Makes a project. Not retried by itself: it could be made twice. */
  create(body: ProjectCreateParams, options?: OpenAI.RequestOptions): APIPromise<Project> {
    return this.#client.post('/projects', { body, maxRetries: 0, ...options })
  }

  list(query: ListParams = {}, options?: OpenAI.RequestOptions): MeshList<Project> {
    return listOf(this.#client, '/projects', { ...query }, options)
  }

  update(id: ProjectId, body: ProjectUpdateParams, options?: OpenAI.RequestOptions): APIPromise<Project> {
    return this.#client.patch(`/projects/${encodeURIComponent(id)}`, { body, ...options })
  }

  /** Deletes a project and revokes every key in it. */
  delete(id: ProjectId, options?: OpenAI.RequestOptions): APIPromise<DeletedProject> {
    return this.#client.delete(`/projects/${encodeURIComponent(id)}`, options)
  }
}
