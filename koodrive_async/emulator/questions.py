"""The questions that the reference leaves open, in words, by the names that dialects have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

QUESTIONS: Final[Mapping[str, str]] = {
    "unfinished_files": "Does listBackupFile show files that are not complete?",
    "listed_description": "Does listBackupFile give the description of a file?",
    "record_order": "In which order does listBackupRecord give records?",
    "file_order": "In which order does listBackupFile give files?",
    "pages": "Are pages full before the last one, shorter than asked for, or empty now and then?",
    "end_of_list": (
        "What is nextCursor at the end: absent, null, empty, or does it lead to an empty page?"
    ),
    "device_info": "Do records carry deviceInfo, which their table has and no example shows?",
    "unique_names": "Within what is the name of a file unique?",
    "rename_style": "What does autoRename 2 make of 123.jpg?",
    "default_rename": "What does a missing autoRename stand for?",
    "same_file": "Does autoRename 4 take a file that is not complete for the same file?",
    "duplicate_name": "How does autoRename 3 refuse a name: code 13000405, existFileId, or both?",
    "held_lock": "How does the service refuse to give a lock that is held already?",
    "lost_lock": "How is a lock refused that has run out?",
    "foreign_lock": "How is a lock refused that is another user's?",
    "unknown_lock": "How is a lock refused that is not known, since it was released or never was?",
    "lock_scope": "What is locked: a module of a user, of a device, or everything of the user?",
    "expired_lock": "Can a lock be renewed after it ran out, as the English page has it?",
    "lock_header": "Which calls want x-backup-lock-id?",
    "second_release": "How does the service answer the release of a lock that is gone?",
    "refusal_status": (
        "Do refusals come as HTTP 400, or as 200 with a code, the only status the pages list?"
    ),
    "bad_credentials": "How are invalid credentials refused?",
    "rate_limit": "How does the service refuse too many calls?",
    "missing_record": "How does the service answer for a record that does not exist?",
    "bound_machine": "What does binding return for a machine that is bound already?",
    "unbound_device": "Do the records of a device stay when it is unbound?",
    "added_scopes": "What does batchAddBackupScope answer?",
    "failed_scopes": "Which form does failedScopeList have?",
    "unfinished_record": "Can a record that has unfinished files be completed?",
    "completed_record": "How does the service answer the completion of a record that is complete?",
    "deleted_record": "Is a deleted record gone, or does it stay for a time with status 2?",
    "left_out_properties": "What does completeBackup without properties do to those of the record?",
    "properties_limit": "How long may the properties of a record be, in characters?",
    "description_limit": "How long may the description of a backup file be, in characters?",
    "flash_upload": "Which content need not be uploaded, since the service has it?",
    "flash_hit": "Is a file complete after a flash upload, or does it want completeFile?",
    "empty_file": (
        "How is a file of no bytes uploaded: with a part of size 0, without any, or not at all?"
    ),
    "container_in_answer": "Does createBackupFile answer with containerId?",
    "container_in_request": "May createBackupFile be called without containerId?",
    "proof_origin": "Is proofCode made from the whole Authorization value, or from the bare token?",
    "proof_seed": "Is ProofSeed hashed as its 64 hexadecimal digits, or as 32 bytes?",
    "multipart": "What does an edition without multipart do with a list of several parts?",
    "hash_ctx": "May parts be uploaded in their order without hashCtx?",
    "created_parts": "For which parts does createBackupFile give URLs, and in which order?",
    "part_urls_at_once": "How many parts may uploadUrl be asked for at once?",
    "complete_part_urls": "Does uploadUrl give URLs for parts of a complete file?",
    "forgotten_upload": "Does the entry of a file stay after its upload was forgotten?",
    "completed_file": "Which code has completeFile for a file that is complete?",
    "signed_headers": "Which headers does a part URL sign?",
    "url_life": "How long does a presigned URL hold, in seconds?",
    "url_scheme": "Are presigned URLs http or https?",
    "url_host": "How is the host of presigned URLs written (always with a port here)?",
    "api_content_type": "Do calls with a body want Content-Type: application/json?",
    "part_content_type": "Does the PUT of a part want Content-Type: application/octet-stream?",
    "ranges": "Does a download link honour the header Range?",
    "unfinished_links": "Does getDownLoadUrl give a link for a file that is not complete?",
    "unfinished_details": (
        "Does getFile give the announced size and sha256 of a file that is not complete?"
    ),
    "details_call": "Does the edition have getFile, and for backup files?",
    "space_calls": "Which calls return the spaces of a user: GetSpace (v1), GetSpaceV2 (v2)?",
    "numbers": "Are numbers numbers, or text?",
    "ids": "Are ids of devices, records and scopes text, or bare integers?",
    "absent_fields": "Are fields without a value left out, or null?",
    "unknown_fields": "Do answers hold fields that no page names?",
    "app_signature": "Does the edition take the app signature?",
    "signing_string": (
        "Does StringToSign hold the signing time, as its prose has it and its formula has not?"
    ),
    "login_answer": "How is the accessToken in the answer of Login spelt?",
    "refreshed_session": "Is data of RefreshToken the session, or an object that holds it?",
}
