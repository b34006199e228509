"""What the client does not survive yet: each dialect with the reason, until it is mended."""

from __future__ import annotations

KNOWN = {
    "listed_description=absent": "settling a lost create by the listing misses the description",
    "unique_names=folder": "a file of another record is gone on with after a lost create answer",
    "unique_names=space": "a file of another record is gone on with after a lost create answer",
    "held_lock=403-13000410": "a code of the files pages is not taken for a refusal of a lock",
    "lost_lock=403-13000410": "a code of the files pages is not taken for a refusal of a lock",
    "expired_lock=renewable": "a write that a renewed lock was refused for is not repeated",
    "lock_header=parts-too": "completeFile and uploadUrl are sent without x-backup-lock-id",
    "lock_header=reads-too": "listings are sent without x-backup-lock-id",
    "lock_header=everywhere": "as with reads-too and parts-too",
    "bad_credentials=400-APIGW.0301": "not told as AuthenticationError",
    "bad_credentials=400-13000101": "not told as AuthenticationError",
    "bad_credentials=403-APIGW.0301": "not told as AuthenticationError",
    "bad_credentials=403-13000410": "not told as AuthenticationError",
    "rate_limit=400-APIGW.0308": "the gateway's code of a rate limit is not waited out",
    "bound_machine=refused": "the device that is bound already is not looked up",
    "unfinished_record=refused": "an unfinished upload of a killed run stays in the record",
    "description_limit=512": "a long path is refused, and the file fails",
    "flash_hit=to-be-completed": "completeFile is not called after a flash upload",
    "empty_file=no-parts": "an empty file is always announced with a part",
    "empty_file=at-creation": "an empty file is always announced with a part",
    "container_in_request=required": "the space is not looked up before the first file",
    "completed_file=13000901": "an unknown code of completeFile is not settled by looking",
    "part_content_type=refused": "the PUT of a part always says what type it has",
}

BY_CHANCE = {
    "unique_names=folder",
    "unique_names=space",
    "rate_limit=400-APIGW.0308",
    "unfinished_record=refused",
}
"""Those in which the order of requests decides whether the fault is met."""
